const players = new WeakMap();
const make = (tag, name, text) => {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
};
const round = (value) => Math.abs(value) >= 100 ? Math.round(value).toString() : Number(value.toPrecision(3)).toString();

function drawStrip(canvas, strip, length, step, host) {
  const style = getComputedStyle(host);
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width) return;
  canvas.width = width * ratio; canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const ink = style.getPropertyValue("--st-text-color") || "#222";
  const line = style.getPropertyValue("--st-border-color") || "#ccc";
  const font = style.getPropertyValue("--st-font") || "sans-serif";
  const all = strip.series.flatMap((series) => series.values).filter(Number.isFinite);
  let low = strip.low ?? Math.min(...all, 0), high = strip.high ?? Math.max(...all);
  if (!(high > low)) high = low + 1;
  const top = 18, bottom = height - 4;
  const x = (index) => (index / Math.max(1, length)) * width;
  const y = (value) => bottom - ((value - low) / (high - low)) * (bottom - top);
  pen.strokeStyle = line; pen.lineWidth = 1;
  pen.strokeRect(0.5, top - 0.5, width - 1, bottom - top + 1);
  if (low < 0 && high > 0) { pen.beginPath(); pen.moveTo(0, y(0)); pen.lineTo(width, y(0)); pen.stroke(); }
  for (const series of strip.series) {
    const stride = length / series.values.length;
    pen.strokeStyle = series.color; pen.lineWidth = series.values.length * 4 > width ? 1 : 2; pen.beginPath();
    series.values.forEach((value, index) => {
      const at = x(index * stride);
      if (index) { pen.lineTo(at, y(series.values[index - 1])); pen.lineTo(at, y(value)); }
      else pen.moveTo(at, y(value));
    });
    pen.lineTo(x(length), y(series.values[series.values.length - 1]));
    pen.stroke();
  }
  pen.strokeStyle = ink; pen.lineWidth = 1; pen.beginPath();
  pen.moveTo(x(step), top); pen.lineTo(x(step), bottom); pen.stroke();
  pen.font = `12px ${font}`; pen.fillStyle = ink; pen.textAlign = "left"; pen.textBaseline = "alphabetic";
  pen.fillText(strip.title, 0, 12);
  pen.textAlign = "right";
  const read = strip.series.map((series) => {
    const index = Math.min(series.values.length - 1, Math.floor((step / length) * series.values.length));
    return (series.name ? series.name + " " : "") + round(series.values[index]);
  });
  pen.fillText(read.join("   "), width, 12);
}

class Player {
  constructor(host, data) {
    this.host = host;
    this.speed = 1;
    this.build(data);
    this.observer = new ResizeObserver(() => this.paint());
    this.observer.observe(host.querySelector(".row"));
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.playing = !still;
    this.frame = requestAnimationFrame(() => this.tick());
    if (this.playing) this.resume();
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
      video.addEventListener("loadeddata", () => this.paint());
      figure.append(video);
      const meter = make("div", "meter"), fill = make("div", "fill"), goal = make("div", "goal");
      const total = episode.collected[episode.collected.length - 1] || 0;
      const scale = Math.max(Math.abs(total), Math.abs(episode.target ?? 0), 1e-9) * 1.04;
      fill.style.background = episode.color;
      meter.append(fill);
      if (episode.target !== null) { goal.style.left = `${(100 * Math.abs(episode.target)) / scale}%`; meter.append(goal); }
      const caption = make("figcaption");
      figure.append(meter, caption);
      const strips = episode.strips.map((strip) => {
        const canvas = make("canvas");
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", strip.title);
        const seek = (event) => {
          const box = canvas.getBoundingClientRect();
          this.pause();
          this.seek(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * episode.length);
        };
        canvas.onpointerdown = (event) => { canvas.setPointerCapture(event.pointerId); seek(event); };
        canvas.onpointermove = (event) => { if (event.buttons) seek(event); };
        figure.append(canvas);
        return { canvas, strip };
      });
      row.append(figure);
      return { episode, video, fill, caption, scale, strips };
    });
    this.length = Math.max(...data.episodes.map((episode) => episode.length));
    const bar = make("div", "bar");
    this.toggle = make("button", "", "❚❚");
    this.toggle.setAttribute("aria-label", "play or pause");
    this.toggle.onclick = () => (this.playing ? this.pause() : this.resume());
    const back = make("button", "", "‹"), forward = make("button", "", "›"), speed = make("button", "", "1×");
    back.setAttribute("aria-label", "one step back"); forward.setAttribute("aria-label", "one step forward");
    speed.setAttribute("aria-label", "speed");
    back.onclick = () => { this.pause(); this.seek(this.step() - 1); };
    forward.onclick = () => { this.pause(); this.seek(this.step() + 1); };
    speed.onclick = () => {
      this.speed = { 1: 2, 2: 0.25, 0.25: 0.5, 0.5: 1 }[this.speed];
      speed.textContent = `${this.speed}×`;
      this.entries.forEach((entry) => (entry.video.playbackRate = this.speed));
    };
    this.slider = make("input");
    Object.assign(this.slider, { type: "range", min: 0, max: this.length, step: 1, value: 0 });
    this.slider.setAttribute("aria-label", "step of the episode");
    this.slider.oninput = () => { this.pause(); this.seek(Number(this.slider.value)); };
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
    if (this.clock().video.ended) this.entries.forEach(({ video }) => (video.currentTime = 0));
    this.entries.forEach(({ video }) => { if (!video.ended) video.play().catch(() => {}); });
  }
  pause() {
    this.playing = false;
    this.toggle.textContent = "▶";
    this.entries.forEach(({ video }) => video.pause());
  }

  tick() {
    if (this.stopped) return;
    const clock = this.clock().video;
    if (this.playing && clock.ended) {
      this.endedAt = this.endedAt || performance.now();
      if (performance.now() - this.endedAt > 1200) {
        this.endedAt = 0;
        this.entries.forEach(({ video }) => { video.currentTime = 0; video.play().catch(() => {}); });
      }
    } else if (this.playing) {
      for (const { video } of this.entries) {
        const behind = Math.min(clock.currentTime, (video.duration || 1e9)) - video.currentTime;
        if (!video.ended && Math.abs(behind) > 0.15) video.currentTime = clock.currentTime;
      }
    }
    const step = this.step();
    if (step !== this.painted || !this.playing) this.paint();
    this.frame = requestAnimationFrame(() => this.tick());
  }

  paint() {
    this.painted = this.step();
    this.slider.value = this.painted;
    this.counter.textContent = `step ${this.painted} of ${this.length}`;
    for (const entry of this.entries) {
      const step = this.stepOf(entry), { episode } = entry;
      const index = Math.floor((step / episode.length) * episode.collected.length) - 1;
      const reward = index < 0 ? 0 : episode.collected[Math.min(index, episode.collected.length - 1)];
      entry.fill.style.width = `${Math.min(100, (100 * Math.abs(reward)) / entry.scale)}%`;
      const asked = episode.target === null ? "" : ` of ${round(episode.target)} asked`;
      entry.caption.textContent =
        step >= episode.length ? episode.outcome : `collected ${round(reward)}${asked}`;
      for (const { canvas, strip } of entry.strips) drawStrip(canvas, strip, episode.length, step, this.host.querySelector(".player"));
    }
  }

  stop() {
    this.stopped = true;
    cancelAnimationFrame(this.frame);
    this.observer.disconnect();
  }
}

export default function (component) {
  const { data, parentElement } = component;
  const known = players.get(parentElement);
  if (known && known.fingerprint === data.fingerprint) {
    known.player.paint();
    return () => known.player.stop();
  }
  if (known) known.player.stop();
  const player = new Player(parentElement, data);
  players.set(parentElement, { player, fingerprint: data.fingerprint });
  return () => { player.stop(); players.delete(parentElement); };
}
