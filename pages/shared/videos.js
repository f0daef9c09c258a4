// Up to three episodes that play in step in <video> elements, each with its strips. What stands around the pictures moves
// ten times a second, not with every frame, and nothing plays that is scrolled out of sight: a page at rest costs little.
const players = new WeakMap();
const TICK_MS = 100, REST_MS = 1200;

class Player {
  constructor(host, data) {
    this.host = host;
    this.speed = 1;
    this.build(data);
    this.observer = new ResizeObserver(() => this.paint(true));
    this.observer.observe(host.querySelector(".row"));
    this.inSight = true;
    this.sight = new IntersectionObserver((entries) => {
      this.inSight = entries[entries.length - 1].isIntersecting;
      this.run();
    });
    this.sight.observe(host.querySelector(".row"));
    if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) this.pause();
    else this.resume();
  }

  build(data) {
    const root = this.host.querySelector(".player");
    root.replaceChildren();
    const row = make("div", "row");
    row.style.gridTemplateColumns = `repeat(${data.episodes.length}, minmax(0, 1fr))`;
    if (data.episodes.length === 1) root.style.maxWidth = "40rem";
    this.entries = data.episodes.map((episode) => {
      const figure = make("figure");
      figure.append(make("div", "title", episode.title));
      const video = make("video");
      Object.assign(video, { muted: true, playsInline: true, preload: "auto", src: episode.video });
      video.setAttribute("aria-label", `${episode.title}. ${episode.outcome}`);
      for (const event of ["loadeddata", "seeked"]) video.addEventListener(event, () => this.paint());
      figure.append(video);
      const meter = make("div", "meter"), fill = make("div", "fill"), goal = make("div", "goal");
      const total = episode.collected[episode.collected.length - 1] || 0;
      const scale = Math.max(Math.abs(total), Math.abs(episode.target ?? 0), 1e-9) * 1.04;
      fill.style.background = episode.color;
      meter.append(fill);
      if (episode.target !== null) { goal.style.left = `${(100 * Math.abs(episode.target)) / scale}%`; meter.append(goal); }
      const told = make("figcaption"), caption = make("span");
      told.dataset.end = episode.outcome;
      told.append(caption);
      figure.append(meter, told);
      const strips = episode.strips.map((strip) => new StripView(strip, episode.length, figure, (step) => {
        this.pause();
        this.seek(step);
      }));
      row.append(figure);
      return { episode, video, fill, caption, scale, strips };
    });
    this.length = Math.max(...data.episodes.map((episode) => episode.length));
    const bar = make("div", "bar");
    this.toggle = button("❚❚", "play or pause", () => (this.playing ? this.pause() : this.resume()));
    const back = button("‹", "one step back", () => { this.pause(); this.seek(this.step() - 1); });
    const forward = button("›", "one step forward", () => { this.pause(); this.seek(this.step() + 1); });
    const speed = button("1×", "speed", () => {
      this.speed = { 1: 2, 2: 0.25, 0.25: 0.5, 0.5: 1 }[this.speed];
      speed.textContent = `${this.speed}×`;
      this.entries.forEach((entry) => (entry.video.playbackRate = this.speed));
    });
    this.slider = make("input");
    Object.assign(this.slider, { type: "range", min: 0, max: this.length, step: 1, value: 0 });
    this.slider.setAttribute("aria-label", "step of the episode");
    this.slider.oninput = () => {
      const wanted = Number(this.slider.value);
      this.pause(); // which lets the slider say where the film is
      this.seek(wanted);
    };
    this.counter = make("span", "step");
    bar.append(this.toggle, back, forward, this.slider, this.counter, speed);
    root.append(row, bar);
  }

  clock() { return this.entries.reduce((longest, entry) => entry.episode.length > longest.episode.length ? entry : longest); }
  stepOf(entry) {
    const total = entry.video.duration || 1;
    return Math.min(entry.episode.length, Math.round((entry.video.currentTime / total) * entry.episode.length));
  }
  step() { return this.stepOf(this.clock()); }

  seek(step) {
    const wanted = Math.min(this.length, Math.max(0, step));
    for (const { video, episode } of this.entries) {
      const share = Math.min(1, wanted / episode.length);
      video.currentTime = Math.min((video.duration || 0) - 0.001, (share * (video.duration || 0)) + 0.0005);
    }
    this.paint();
  }

  resume() {
    this.playing = true;
    this.toggle.textContent = "❚❚";
    if (this.clock().video.ended) this.begin();
    this.run();
  }
  pause() {
    this.playing = false;
    this.toggle.textContent = "▶";
    this.run();
  }

  begin() {
    this.endedAt = 0;
    this.entries.forEach(({ video }) => { video.currentTime = 0; });
  }

  // Let the films play, or not: after a press, and when they come into sight or leave it.
  run() {
    clearInterval(this.timer);
    const runs = this.playing && this.inSight && !this.stopped;
    for (const { video } of this.entries) {
      if (!runs) video.pause();
      else if (!video.ended) video.play().catch(() => {});
    }
    if (runs) this.timer = setInterval(() => this.tick(), TICK_MS);
    else if (!this.stopped) this.paint();
  }

  tick() {
    const clock = this.clock().video;
    if (!this.moved && clock.currentTime > 0) {
      this.moved = true;
      performance.mark("seqrl video moves");
    }
    if (clock.ended) {
      this.endedAt = this.endedAt || performance.now();
      if (performance.now() - this.endedAt > REST_MS) {
        this.begin();
        this.run();
      }
    } else {
      for (const { video } of this.entries) {
        const behind = Math.min(clock.currentTime, (video.duration || 1e9)) - video.currentTime;
        if (!video.ended && Math.abs(behind) > 0.15) video.currentTime = clock.currentTime;
      }
    }
    if (this.step() !== this.painted) this.paint();
  }

  paint(stale = false) {
    this.painted = this.step();
    const style = getComputedStyle(this.host.querySelector(".player"));
    this.slider.value = this.painted;
    this.counter.textContent = `step ${this.painted} of ${this.length}`;
    for (const entry of this.entries) {
      const step = this.stepOf(entry), { episode } = entry;
      const reward = step ? episode.collected[step - 1] : 0;
      entry.fill.style.width = `${Math.min(100, (100 * Math.abs(reward)) / entry.scale)}%`;
      const asked = episode.target === null ? "" : ` of ${shorten(episode.target)} asked`;
      entry.caption.textContent =
        step >= episode.length ? episode.outcome : `collected ${shorten(reward)}${asked}`;
      for (const strip of entry.strips) strip.paint(step, style, stale);
    }
  }

  stop() {
    this.stopped = true;
    this.run();
    this.observer.disconnect();
    this.sight.disconnect();
  }
}

export default function (component) {
  const { data, parentElement } = component;
  const known = players.get(parentElement);
  if (known && known.fingerprint === data.fingerprint) {
    known.player.paint(true);
    return () => known.player.stop();
  }
  if (known) known.player.stop();
  const player = new Player(parentElement, data);
  players.set(parentElement, { player, fingerprint: data.fingerprint });
  return () => { player.stop(); players.delete(parentElement); };
}
