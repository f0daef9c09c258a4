// Small charts below an episode's picture and on its time axis.
const STRIP_HEIGHT = 62, BAND_HEIGHT = 18;
// 1, or more where the page is shown to a room and its type is larger.
const typeScale = () => parseFloat(getComputedStyle(document.documentElement).fontSize) / 16 || 1;

// A strip draws its lines once for a width and a theme; a step only moves the cursor and the numbers over it.
class StripView {
  constructor(strip, length, figure, seek) {
    Object.assign(this, { strip, length });
    this.canvas = make("canvas", "strip");
    this.scale = typeScale();
    const bands = 22 + BAND_HEIGHT * Math.min(strip.rows.length, 6);
    this.height = Math.round(this.scale * (strip.rows.length ? bands : STRIP_HEIGHT));
    this.canvas.style.height = `${this.height}px`;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${strip.title} over the steps of the episode`);
    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * length;
    };
    this.canvas.onpointerdown = (event) => { this.canvas.setPointerCapture(event.pointerId); seek(at(event), false); };
    this.canvas.onpointermove = (event) => { if (event.buttons) seek(at(event), false); };
    this.canvas.onpointerup = (event) => seek(at(event), true);
    figure.append(this.canvas);
  }

  x(step, width) { return (step / Math.max(1, this.length)) * width; }

  still(style, width, ratio) {
    const still = new OffscreenCanvas(width * ratio, this.height * ratio), pen = still.getContext("2d");
    pen.scale(ratio, ratio);
    const ink = style.getPropertyValue("--st-text-color") || "#222", line = style.getPropertyValue("--st-border-color");
    const top = 18 * this.scale, bottom = this.height - 2;
    pen.font = `${12 * this.scale}px ${style.getPropertyValue("--st-font") || "sans-serif"}`;
    pen.fillStyle = ink;
    pen.fillText(this.strip.title, 0, 12 * this.scale);
    if (this.strip.rows.length) this.drawBand(pen, width, top, bottom);
    else this.drawLines(pen, width, top, bottom, line);
    pen.strokeStyle = line || "#ccc";
    pen.lineWidth = 1;
    pen.strokeRect(0.5, top - 0.5, width - 1, bottom - top + 1);
    this.picture = { still, width, ratio, ink, top, bottom, font: pen.font };
  }

  drawBand(pen, width, top, bottom) {
    const { rows, chosen, colors } = this.strip, height = (bottom - top) / rows.length;
    const stride = this.length / Math.max(1, chosen.length);
    chosen.forEach((row, index) => {
      pen.fillStyle = colors[row % colors.length];
      const from = this.x(index * stride, width), to = this.x((index + 1) * stride, width);
      pen.fillRect(from, top + row * height + 1, Math.max(to - from, 0.75), height - 2);
    });
  }

  drawLines(pen, width, top, bottom, line) {
    const { series } = this.strip;
    const all = series.flatMap((one) => one.spread.length
      ? one.values.flatMap((value, at) => [value - one.spread[at], value + one.spread[at]]) : one.values);
    const finite = all.filter(Number.isFinite);
    let low = this.strip.low ?? finite.reduce((least, value) => Math.min(least, value), Infinity);
    let high = this.strip.high ?? finite.reduce((most, value) => Math.max(most, value), -Infinity);
    if (this.strip.low === null && low > 0) low = Math.min(low, 0.1 * high);
    if (!(high > low)) { high = low + 1; low -= 1; }
    const y = (value) => bottom - 2 - ((value - low) / (high - low)) * (bottom - top - 4);
    if (low < 0 && high > 0) {
      pen.strokeStyle = line; pen.beginPath(); pen.moveTo(0, y(0)); pen.lineTo(width, y(0)); pen.stroke();
    }
    pen.save();
    pen.beginPath(); pen.rect(0, top, width, bottom - top); pen.clip();
    for (const { values, spread, color } of series) {
      const stride = this.length / Math.max(1, values.length);
      const from = (index) => this.x(index * stride, width);
      if (spread.length) {
        pen.beginPath();
        values.forEach((value, at) => pen.lineTo(from(at), y(value + spread[at])));
        values.toReversed().forEach((value, at) => {
          const back = values.length - 1 - at;
          pen.lineTo(from(back), y(value - spread[back]));
        });
        pen.globalAlpha = 0.18; pen.fillStyle = color; pen.fill(); pen.globalAlpha = 1;
      }
      pen.strokeStyle = color;
      pen.lineWidth = values.length * 4 > width ? 1 : 2;
      pen.beginPath();
      let pending = true;
      values.forEach((value, index) => {
        if (value === null) { pending = true; return; }
        if (pending) pen.moveTo(from(index), y(value)); else pen.lineTo(from(index), y(value));
        pen.lineTo(from(index + 1), y(value));
        pending = false;
      });
      pen.stroke();
    }
    pen.restore();
  }

  paint(step, style, stale) {
    const ratio = window.devicePixelRatio || 1, width = this.canvas.clientWidth;
    if (!width) return;
    if (stale || this.picture?.width !== width || this.picture.ratio !== ratio) this.still(style, width, ratio);
    const { still, ink, top, bottom, font } = this.picture;
    if (this.canvas.width !== still.width || this.canvas.height !== still.height) {
      Object.assign(this.canvas, { width: still.width, height: still.height });
    }
    const pen = this.canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, still.width, still.height);
    pen.drawImage(still, 0, 0);
    pen.scale(ratio, ratio);
    pen.fillStyle = ink;
    const shown = Math.min(step, this.length), from = this.x(shown, width), to = this.x(shown + 1, width);
    pen.fillRect(Math.min(from, width - 1.5), top, Math.max(1.5, Math.min(to, width) - from > 6 ? 1.5 : 0), bottom - top);
    pen.font = font;
    pen.textAlign = "right";
    pen.fillText(this.reading(shown), width, 12 * this.scale);
  }

  reading(step) {
    const { rows, chosen, series } = this.strip;
    const index = (count) => (count === this.length ? step : Math.floor((step / Math.max(1, this.length)) * count));
    if (step >= this.length) return "over";
    if (rows.length) return rows[chosen[index(chosen.length)]] ?? "";
    return series.map(({ name, values, spread }) => {
      const at = index(values.length);
      return `${name ? `${name} ` : ""}${shorten(values[at])}${spread.length ? ` ± ${shorten(spread[at])}` : ""}`;
    }).join("   ");
  }
}
