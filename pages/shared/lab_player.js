// One clock for up to three episodes: pictures (frames.js) and strips on one time axis, moved by keys, slider or click.
const labs = new WeakMap();

class Lab {
  constructor(host, data) {
    this.host = host;
    this.root = host.querySelector(".lab");
    this.speed = 1;
    this.visit = data.visit;
    this.position = 0;
    this.build(data);
    this.observer = new ResizeObserver(() => this.paint(true));
    this.observer.observe(this.root);
    this.onKey = (event) => this.key(event);
    document.addEventListener("keydown", this.onKey);
    this.seek(data.start, false);
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (data.play && !still) this.play();
  }

  build(data) {
    this.root.replaceChildren();
    const row = make("div", "row");
    row.style.gridTemplateColumns = `repeat(auto-fit, minmax(min(100%, 15rem), 1fr))`;
    this.length = Math.max(...data.episodes.map((episode) => episode.length));
    this.entries = data.episodes.map((episode) => this.entry(episode, row));
    this.loop = true;
    const bar = make("div", "bar");
    this.toggle = button("▶", "play (space)", () => (this.playing ? this.pause(true) : this.play()));
    const speed = button("1×", "speed", () => {
      this.speed = { 1: 2, 2: 0.25, 0.25: 0.5, 0.5: 1 }[this.speed];
      speed.textContent = `${this.speed}×`;
    });
    const loop = button("↻", "begin again at the end", () => {
      this.loop = !this.loop;
      loop.setAttribute("aria-pressed", this.loop);
    });
    loop.setAttribute("aria-pressed", true);
    this.slider = make("input");
    Object.assign(this.slider, { type: "range", min: 0, max: this.length, step: 1, value: 0 });
    this.slider.setAttribute("aria-label", "step of the episode");
    this.slider.oninput = () => { this.pause(false); this.seek(Number(this.slider.value), false); };
    this.slider.onchange = () => this.commit();
    this.counter = make("span", "step");
    const back = button("‹", "one step back (left arrow)", () => this.nudge(-1));
    const forward = button("›", "one step forward (right arrow)", () => this.nudge(1));
    bar.append(this.toggle, back, forward, speed, loop);
    if (data.neighbours) {
      bar.append(button("«", "previous episode (p)", () => this.go(-1)), button("»", "next episode (n)", () => this.go(1)));
    }
    bar.append(this.counter);
    const deck = make("div", "deck");
    deck.append(this.slider, bar);
    this.root.append(row, deck);
    this.root.dataset.ready = "1";
  }

  entry(episode, row) {
    const figure = make("figure");
    figure.append(make("div", "title", episode.title));
    const picture = make("canvas", "picture");
    Object.assign(picture, { width: 480, height: 320 });
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", `${episode.title}. ${episode.outcome}`);
    const meter = make("div", "meter"), fill = make("div", "fill"), goal = make("div", "goal");
    const total = episode.collected[episode.collected.length - 1] || 0;
    const scale = Math.max(Math.abs(total), Math.abs(episode.target ?? 0), 1e-9) * 1.04;
    fill.style.background = episode.color;
    meter.append(fill);
    if (episode.target !== null) { goal.style.left = `${(100 * Math.abs(episode.target)) / scale}%`; meter.append(goal); }
    const caption = make("figcaption");
    figure.append(picture, meter, caption);
    const strips = episode.strips.map((strip) => new StripView(strip, episode.length, figure, (step, done) => {
      this.pause(false);
      this.seek(Math.floor(step), false);
      if (done) this.commit();
    }));
    row.append(figure);
    const frames = new Frames(episode.video, episode.length + 1, () => this.paint());
    return { episode, picture, fill, caption, scale, strips, frames };
  }

  get step() { return Math.min(this.length, Math.floor(this.position + 1e-6)); }

  seek(step, commit = true) {
    this.position = Math.min(this.length, Math.max(0, step));
    this.asked = performance.now();
    this.paint();
    if (commit) this.commit();
  }

  nudge(by) { this.pause(false); this.seek(this.step + by); }

  // The server hears of a single step at once, and of the last of several when it was let go.
  commit() {
    const now = performance.now(), alone = !(now - this.committed < 300);
    this.committed = now;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.step !== this.told && !this.playing) { this.told = this.step; this.tell("step", `${this.visit} ${this.step}`); }
    }, alone ? 0 : 100);
  }

  go(by) { this.trigger("go", by); }

  play() {
    if (this.position >= this.length) this.position = 0;
    this.playing = true;
    this.toggle.textContent = "❚❚";
    this.before = performance.now();
    requestAnimationFrame(() => this.tick());
  }

  pause(commit) {
    if (this.playing) { this.playing = false; this.toggle.textContent = "▶"; }
    if (commit) this.commit();
  }

  tick() {
    if (!this.playing || this.stopped) return;
    const now = performance.now(), rate = Math.max(...this.entries.map(({ frames }) => frames.fps));
    if (this.endedAt) {
      if (now - this.endedAt > 1200) { this.endedAt = 0; this.position = 0; }
    } else this.position += ((now - this.before) / 1000) * rate * this.speed;
    this.before = now;
    if (this.position >= this.length && !this.endedAt) {
      this.position = this.length;
      if (this.loop) this.endedAt = now;
      else this.pause(true);
    }
    if (this.step !== this.painted) this.paint();
    requestAnimationFrame(() => this.tick());
  }

  paint(stale = false) {
    if (this.stopped) return;
    const step = this.painted = this.step, style = getComputedStyle(this.root);
    this.slider.value = step;
    this.counter.textContent = `step ${step} of ${this.length}`;
    let complete = true;
    for (const { episode, picture, fill, caption, scale, strips, frames } of this.entries) {
      const own = Math.min(step, episode.length);
      complete = frames.draw(own, picture) && complete;
      const reward = own ? episode.collected[own - 1] : 0;
      fill.style.width = `${Math.min(100, (100 * Math.abs(reward)) / scale)}%`;
      const asked = episode.target === null ? "" : ` of ${shorten(episode.target)} asked`;
      caption.textContent = own >= episode.length ? episode.outcome : `collected ${shorten(reward)}${asked}`;
      for (const strip of strips) strip.paint(own, style, stale);
    }
    if (complete) {
      this.root.dataset.frame = step;
      if (this.asked) { this.root.dataset.stepMs = (performance.now() - this.asked).toFixed(2); this.asked = 0; }
    }
  }

  key(event) {
    const target = event.composedPath()[0];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target !== this.slider && (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.isContentEditable)) return;
    if (target.closest?.('[role="combobox"], [role="slider"], [role="tab"], [role="radio"], [role="listbox"]')) return;
    if (event.key === " " && (target.tagName === "BUTTON" || target.tagName === "SUMMARY")) return;
    const acts = {
      ArrowRight: () => this.nudge(event.shiftKey ? 10 : 1),
      ArrowLeft: () => this.nudge(event.shiftKey ? -10 : -1),
      Home: () => this.nudge(-this.length),
      End: () => this.nudge(this.length),
      " ": () => (this.playing ? this.pause(true) : this.play()),
      n: () => this.go(1),
      p: () => this.go(-1),
    };
    if (this.presenting) Object.assign(acts, { PageDown: acts.n, PageUp: acts.p, ArrowDown: acts.n, ArrowUp: acts.p });
    if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    document.removeEventListener("keydown", this.onKey);
    this.observer.disconnect();
    for (const { frames } of this.entries) frames.close();
  }
}

export default function (component) {
  const { data, parentElement, setStateValue, setTriggerValue } = component;
  let known = labs.get(parentElement);
  if (!known || known.fingerprint !== data.fingerprint) {
    if (known) known.lab.stop();
    known = { lab: new Lab(parentElement, data), fingerprint: data.fingerprint };
    labs.set(parentElement, known);
  }
  const { lab } = known;
  lab.tell = setStateValue;
  lab.trigger = setTriggerValue;
  lab.presenting = data.presenting;
  lab.paint(true);
  return () => { lab.stop(); labs.delete(parentElement); };
}
