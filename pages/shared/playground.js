// A slider over targets; the episode of the nearest one that is there plays at once, from the browser's own memory.
const grounds = new WeakMap();

class Playground {
  constructor(host, data) {
    this.root = host.querySelector(".playground");
    this.data = data;
    this.sources = data.episodes.map((episode) => this.source(episode.video));
    const asked = make("div", "asked"), slider = make("input"), ticks = make("div", "ticks"), got = make("div", "got");
    this.said = make("span");
    this.collected = make("span");
    asked.append(this.said, this.collected);
    Object.assign(slider, { type: "range", min: data.low, max: data.high, step: data.step, value: data.start });
    slider.setAttribute("aria-label", "return to ask for (reward)");
    slider.oninput = () => this.ask(Number(slider.value));
    slider.onchange = () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.tell("asked", Number(slider.value)), 150);
    };
    this.stage = make("div");
    this.videos = [];
    this.got = got;
    this.slider = slider;
    this.marks = data.episodes.map((episode) => {
      const mark = make("i");
      mark.style.left = `${(100 * (episode.target - data.low)) / (data.high - data.low || 1)}%`;
      ticks.append(mark);
      return mark;
    });
    for (const value of [data.low, data.high]) {
      const label = make("span", "", shorten(value));
      label.style.left = `${(100 * (value - data.low)) / (data.high - data.low || 1)}%`;
      ticks.append(label);
    }
    this.root.replaceChildren(asked, slider, ticks, this.stage, got);
    this.inSight = true;
    this.sight = new IntersectionObserver((entries) => {
      this.inSight = entries[entries.length - 1].isIntersecting;
      this.run();
    });
    this.sight.observe(this.root);
    this.ask(data.start);
  }

  // A data URL is turned into a blob once, so that changing the episode does not decode the text again.
  source(url) {
    const text = atob(url.slice(url.indexOf(",") + 1));
    return URL.createObjectURL(new Blob([Uint8Array.from(text, (letter) => letter.charCodeAt(0))], { type: "video/mp4" }));
  }

  // Episodes that were shown, and their neighbours on the slider, stay loaded: to show one again takes no time.
  film(index) {
    if (!this.data.episodes[index] || this.videos[index]) return this.videos[index];
    const video = make("video"), episode = this.data.episodes[index];
    Object.assign(video, { muted: true, playsInline: true, loop: true, preload: "auto", src: this.sources[index] });
    video.setAttribute("aria-label", `Asked for ${shorten(episode.target)}: ${episode.outcome}`);
    video.ontimeupdate = () => { if (index === this.index) this.count(); };
    this.videos[index] = video;
    return video;
  }

  nearest(target) {
    const distance = (episode) => Math.abs(episode.target - target);
    const all = this.data.episodes;
    return all.reduce((best, episode, index) => (distance(episode) < distance(all[best]) ? index : best), 0);
  }

  ask(target) {
    const index = this.nearest(target), episode = this.data.episodes[index];
    this.target = target;
    this.said.textContent = `You ask for ${shorten(target)}`;
    this.marks.forEach((mark, at) => mark.classList.toggle("shown", at === index));
    const exact = episode.target === target;
    const other = `nearest that was played: asked for ${shorten(episode.target)}, `;
    this.got.textContent = (exact ? "" : other) + episode.outcome;
    this.root.dataset.shown = episode.target;
    if (index !== this.index) {
      this.videos[this.index]?.pause();
      this.index = index;
      const video = this.film(index), since = performance.now();
      video.currentTime = 0;
      video.onplaying = () => { this.root.dataset.playMs = (performance.now() - since).toFixed(1); video.onplaying = null; };
      this.stage.replaceChildren(video);
      this.run();
      this.film(index - 1);
      this.film(index + 1);
    }
    this.count();
  }

  // The film plays while somebody can see it.
  run() {
    const video = this.videos[this.index], still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (this.inSight && !still) video.play().catch(() => {});
    else video.pause();
  }

  count() {
    const { collected, length } = this.data.episodes[this.index];
    const video = this.videos[this.index], share = video.duration ? video.currentTime / video.duration : 0;
    const step = Math.min(length, Math.round(share * length));
    this.collected.textContent = `collected ${shorten(step ? collected[step - 1] : 0)}`;
  }

  stop() {
    clearTimeout(this.timer);
    this.sight.disconnect();
    this.videos.forEach((video) => video.pause());
    this.sources.forEach((source) => URL.revokeObjectURL(source));
  }
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  let known = grounds.get(parentElement);
  if (!known || known.fingerprint !== data.fingerprint) {
    const kept = known && known.ground.target;
    if (known) known.ground.stop();
    if (kept !== undefined && kept >= data.low && kept <= data.high) data.start = kept;
    known = { ground: new Playground(parentElement, data), fingerprint: data.fingerprint };
    grounds.set(parentElement, known);
  }
  known.ground.tell = setStateValue;
  return () => { known.ground.stop(); grounds.delete(parentElement); };
}
