const states = new WeakMap();

function whenLoaded(callback, tries = 0) {
  if (window.seqrlPlotly) window.seqrlPlotly.then(callback);
  else if (tries < 1500) setTimeout(() => whenLoaded(callback, tries + 1), 20);
}

// On a low screen a chart is a bit lower, so that it is seen as a whole. A chart on equal axes is a square: in a narrow
// column it becomes lower, too, instead of empty above and below, and the names at the ends of its lines, which were
// spread for its full height, are spread again.
function fit(layout, width) {
  const designed = layout.height;
  layout.height = Math.min(designed, Math.max(440, Math.round(0.62 * window.innerHeight)));
  if (!layout.yaxis || !layout.yaxis.scaleanchor || layout.showlegend || !width) return;  // a legend needs the height
  const [bottom, top] = layout.yaxis.domain || [0, 1], full = layout.height;
  const plot = width - 62 - ((layout.margin && layout.margin.r) || 16);
  layout.height = Math.round(Math.min(full, Math.max(240, plot / (top - bottom) + 76)));
  if (layout.height < designed) spread(layout, (layout.height - 76) * (top - bottom));
}

function spread(layout, pixels) {
  const [low, high] = layout.yaxis.range, names = (layout.annotations || []).filter((one) => one.name?.startsWith("end of "));
  if (!names.length) return;
  const gap = (1.3 * names[0].font.size * (high - low)) / pixels;
  names.sort((one, other) => one.y - other.y);
  names.forEach((one, at) => { if (at) one.y = Math.max(one.y, names[at - 1].y + gap); });
  names.toReversed().forEach((one, at, down) => { one.y = Math.min(one.y, at ? down[at - 1].y - gap : high - gap / 2); });
  for (const line of layout.shapes || []) {
    const own = names.find((one) => one.name === line.name);
    if (own) line.y1 = own.y;
  }
}

// Plotly keeps a zoom only while the figure's own ranges stay the same, and those of a live curve grow:
// so remember what the viewer chose, axis by axis, until the axes are reset or another quantity is drawn.
function remember(state, layout) {
  for (const [name, axis] of Object.entries(layout)) {
    if (!/^[xy]axis\d*$/.test(name) || !axis.range) continue;
    const given = state.given[name];
    const width = Math.abs(axis.range[1] - axis.range[0]) || 1;
    const same = given && axis.range.every((end, side) => Math.abs(end - given[side]) < 1e-6 * width);
    if (same || axis.autorange) delete state.zoom[name];
    else if (given) state.zoom[name] = [...axis.range];
  }
}

function applyZoom(state, layout) {
  if (state.revision !== layout.uirevision) state.zoom = {};
  state.revision = layout.uirevision;
  state.given = {};
  for (const [name, axis] of Object.entries(layout)) {
    if (!/^[xy]axis\d*$/.test(name)) continue;
    if (axis.range) state.given[name] = [...axis.range];
    if (state.zoom[name]) { axis.range = state.zoom[name]; axis.autorange = false; }
  }
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const element = parentElement.querySelector(".seqrl-chart");
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", data.alt);
  element.classList.toggle("clickable", data.clickable);
  if (!element.dataset.drawn) element.style.minHeight = data.height + "px";
  const state = states.get(element) || {};
  states.set(element, state);
  state.zoom = state.zoom || {};
  state.trigger = data.clickable ? setTriggerValue : () => {};
  whenLoaded(async (Plotly) => {
    if (state.figure === data.figure) return;
    state.figure = data.figure;
    const figure = JSON.parse(data.figure);
    applyZoom(state, figure.layout);
    state.width = element.clientWidth;
    fit(figure.layout, state.width);
    const config = {
      responsive: true,
      displaylogo: false,
      displayModeBar: "hover",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
      toImageButtonOptions: { format: "png", filename: data.filename, scale: 2 },
    };
    await Plotly.react(element, figure.data, figure.layout, config);
    element.style.minHeight = figure.layout.height + "px";
    if (!state.observer) {
      state.observer = new ResizeObserver(() => {
        if (!element.layout || Math.abs(element.clientWidth - state.width) < 4) return;
        const { layout } = JSON.parse(state.figure);
        applyZoom(state, layout);
        state.width = element.clientWidth;
        fit(layout, state.width);
        element.style.minHeight = layout.height + "px";
        Plotly.react(element, element.data, layout);
      });
      state.observer.observe(element);
    }
    element.dataset.drawn = String(Number(element.dataset.drawn || 0) + 1);
    if (element.dataset.drawn === "1") performance.mark("seqrl chart drawn"); // marks are kept: not one a drawing
    if (!state.listening) {
      state.listening = true;
      element.on("plotly_relayout", (change) => {
        if (Object.keys(change).some((name) => /^[xy]axis\d*\.(range|autorange)/.test(name))) {
          remember(state, element.layout);
        }
      });
      element.on("plotly_click", (event) => {
        const point = event.points.find((candidate) => candidate.customdata !== undefined) || event.points[0];
        state.trigger("clicked", { customdata: point.customdata ?? null, x: point.x, y: point.y, at: Date.now() });
      });
    }
  });
  return () => {
    if (state.observer) state.observer.disconnect();
    if (window.Plotly) window.Plotly.purge(element);
  };
}
