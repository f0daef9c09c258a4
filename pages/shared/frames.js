// Every frame of an MP4, exactly and in a few milliseconds. Its samples are decoded with WebCodecs, group by group from
// one key frame to the next: what is asked for first, the rest in the background. Pictures stay as they come from the
// decoder (1.5 bytes a pixel); beyond the budget the groups that were shown longest ago are dropped. Without WebCodecs
// (a page that is neither https nor this machine's own) a <video> element is stepped instead, which is slower.
const FRAME_BUDGET_BYTES = 192e6;

function* boxesOf(view, start, end) {
  while (start + 8 <= end) {
    let size = view.getUint32(start), head = 8;
    if (size === 1) { size = Number(view.getBigUint64(start + 8)); head = 16; }
    if (size === 0) size = end - start;
    const type = String.fromCharCode(...[4, 5, 6, 7].map((at) => view.getUint8(start + at)));
    yield { type, start: start + head, end: start + size };
    start += size;
  }
}

function findBox(view, box, path) {
  for (const type of path) {
    box = [...boxesOf(view, box.start, box.end)].find((inner) => inner.type === type);
    if (!box) return null;
  }
  return box;
}

// Sample table of the first video track: where each coded frame lies, whether it stands alone, and when it is shown.
function readSamples(buffer) {
  const view = new DataView(buffer), whole = { start: 0, end: buffer.byteLength };
  const media = findBox(view, whole, ["moov", "trak", "mdia"]);
  const table = findBox(view, media, ["minf", "stbl"]);
  const box = (type) => findBox(view, table, [type]);
  const list = (found, width, read) => {
    const count = view.getUint32(found.start + 4);
    return Array.from({ length: count }, (_, index) => read(found.start + 8 + index * width));
  };
  const sizes = box("stsz"), fixed = view.getUint32(sizes.start + 4), count = view.getUint32(sizes.start + 8);
  const size = (index) => fixed || view.getUint32(sizes.start + 12 + 4 * index);
  const offsets = box("stco")
    ? list(box("stco"), 4, (at) => view.getUint32(at))
    : list(box("co64"), 8, (at) => Number(view.getBigUint64(at)));
  const chunks = list(box("stsc"), 12, (at) => [view.getUint32(at), view.getUint32(at + 4)]);
  const places = [];
  offsets.forEach((offset, chunk) => {
    const run = chunks.findLast(([first]) => first <= chunk + 1);
    for (let inside = 0; inside < run[1] && places.length < count; inside += 1) {
      places.push(offset);
      offset += size(places.length - 1);
    }
  });
  const spread = (found, read) => {
    const values = [];
    for (const [times, value] of list(found, 8, (at) => [view.getUint32(at), read(at + 4)])) {
      for (let i = 0; i < times; i += 1) values.push(value);
    }
    return values;
  };
  const durations = spread(box("stts"), (at) => view.getUint32(at));
  const shifts = box("ctts") ? spread(box("ctts"), (at) => view.getInt32(at)) : [];
  const keys = box("stss") ? new Set(list(box("stss"), 4, (at) => view.getUint32(at) - 1)) : null;
  let time = 0;
  const samples = places.map((offset, index) => {
    const sample = {
      data: new Uint8Array(buffer, offset, size(index)),
      key: keys ? keys.has(index) : true,
      shown: time + (shifts[index] || 0),
    };
    time += durations[index] || 0;
    return sample;
  });
  const header = findBox(view, media, ["mdhd"]), scale = view.getUint32(header.start + (view.getUint8(header.start) ? 20 : 12));
  [...samples].sort((a, b) => a.shown - b.shown).forEach((sample, rank) => { sample.rank = rank; });
  const entry = box("stsd").start + 16;
  const inside = [...boxesOf(view, entry + 78, box("stsd").end)].find((inner) => inner.type === "avcC");
  const description = new Uint8Array(buffer, inside.start, inside.end - inside.start);
  const hex = (byte) => byte.toString(16).padStart(2, "0");
  const fps = time ? (samples.length * scale) / time : 30;
  return { samples, description, fps, codec: `avc1.${hex(description[1])}${hex(description[2])}${hex(description[3])}` };
}

class Frames {
  constructor(url, expected, onNews) {
    this.url = url;
    this.count = expected;
    this.onNews = onNews || (() => {});
    this.fps = 30;
    this.cache = new Map();
    this.bytes = 0;
    this.wanted = 0;
    this.ready = this.open();
  }

  async open() {
    try {
      if (typeof VideoDecoder === "undefined") throw new Error("no WebCodecs here");
      const buffer = await (await fetch(this.url)).arrayBuffer();
      const { samples, description, codec, fps } = readSamples(buffer);
      const config = { codec, description };
      if (!(await VideoDecoder.isConfigSupported(config)).supported) throw new Error(`${codec} is not supported`);
      this.config = config;
      this.fps = fps;
      this.groups = [];
      for (const sample of samples) {
        if (sample.key || !this.groups.length) this.groups.push({ samples: [], first: Infinity });
        const group = this.groups[this.groups.length - 1];
        group.samples.push(sample);
        group.first = Math.min(group.first, sample.rank);
      }
      this.count = samples.length;
      this.work();
    } catch (problem) {
      this.groups = null;
      this.video = Object.assign(document.createElement("video"), { muted: true, preload: "auto", src: this.url });
      await new Promise((done) => { this.video.onloadeddata = done; this.video.onerror = done; });
      this.fps = this.count / (this.video.duration || 1);
      this.seek();
    }
    return this;
  }

  clamp(index) { return Math.max(0, Math.min(this.count - 1, index)); }
  groupOf(index) { return this.groups.findLastIndex((group) => group.first <= index); }

  // Draw a frame if it is there; else have it decoded next, and say so by onNews.
  draw(index, canvas) {
    index = this.clamp(index);
    this.wanted = index;
    if (this.video) return this.drawVideo(index, canvas);
    if (!this.groups) return false;
    const number = this.groupOf(index), frames = this.cache.get(number);
    if (!frames) { this.work(); return false; }
    this.cache.delete(number);
    this.cache.set(number, frames);
    const held = frames[index - this.groups[number].first];
    if (!held) return false;
    const frame = new VideoFrame(held.data, { ...held.init, timestamp: 0 });
    this.onto(canvas, frame, frame.displayWidth, frame.displayHeight);
    frame.close();
    return true;
  }

  onto(canvas, picture, width, height) {
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    canvas.getContext("2d", { alpha: false }).drawImage(picture, 0, 0);
  }

  // The next group to decode: the one that is asked for, then those after it, then those before it.
  next() {
    const start = this.groupOf(this.wanted), all = this.groups.map((_, number) => number);
    const order = [...all.slice(start), ...all.slice(0, start).reverse()];
    const missing = order.find((number) => !this.cache.has(number));
    if (missing === start || missing === undefined) return missing;
    return this.bytes < 0.8 * FRAME_BUDGET_BYTES || missing === start + 1 ? missing : undefined;
  }

  async work() {
    if (this.working) return;
    this.working = true;
    try {
      for (let number = this.next(); number !== undefined && !this.closed; number = this.next()) {
        await this.decode(number);
        this.forget(number);
        this.onNews();
      }
    } finally {
      this.working = false;
    }
  }

  async decode(number) {
    const group = this.groups[number], copies = [];
    const decoder = new VideoDecoder({ output: (frame) => copies.push(this.copy(frame, group.first)), error: () => {} });
    decoder.configure(this.config);
    for (const { key, rank, data } of group.samples) {
      decoder.decode(new EncodedVideoChunk({ type: key ? "key" : "delta", timestamp: rank * 1000, data }));
    }
    await decoder.flush().catch(() => {});
    if (decoder.state !== "closed") decoder.close();
    const frames = [];
    for (const [place, held] of await Promise.all(copies)) {
      frames[place] = held;
      this.bytes += held.data.byteLength;
    }
    this.cache.set(number, frames);
  }

  async copy(frame, first) {
    const data = new ArrayBuffer(frame.allocationSize());
    const layout = await frame.copyTo(data);
    const { format, displayWidth, displayHeight, visibleRect } = frame;
    const place = Math.round(frame.timestamp / 1000) - first;
    const size = { codedWidth: visibleRect.width, codedHeight: visibleRect.height, displayWidth, displayHeight };
    const init = { format, layout, colorSpace: frame.colorSpace.toJSON(), ...size };
    frame.close();
    return [place, { data, init }];
  }

  forget(kept) {
    for (const [number, frames] of this.cache) {
      if (this.bytes <= FRAME_BUDGET_BYTES) return;
      if (number === kept || number === this.groupOf(this.wanted)) continue;
      this.cache.delete(number);
      for (const held of frames) if (held) this.bytes -= held.data.byteLength;
    }
  }

  drawVideo(index, canvas) {
    if (this.shown !== index) { this.seek(); return false; }
    this.onto(canvas, this.video, this.video.videoWidth, this.video.videoHeight);
    return true;
  }

  seek() {
    const { video } = this, index = this.wanted;
    if (this.seeking || !video.duration) return;
    this.seeking = true;
    video.onseeked = () => {
      this.seeking = false;
      this.shown = index;
      this.onNews();
      if (this.wanted !== index) this.seek();
    };
    video.currentTime = ((index + 0.5) / this.count) * video.duration;
  }

  close() {
    this.closed = true;
    this.cache.clear();
  }
}
