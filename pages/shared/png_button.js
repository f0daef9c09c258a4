export default function (component) {
  const { data, parentElement } = component;
  const button = parentElement.querySelector("button");
  button.onclick = async () => {
    let around = button.parentElement;
    while (around && !around.querySelector(".seqrl-chart")) around = around.parentElement;
    if (!around || !window.seqrlPlotly) return;
    const plotly = await window.seqrlPlotly;
    const image = { format: "png", scale: 2, filename: data.filename };
    await plotly.downloadImage(around.querySelector(".seqrl-chart"), image);
  };
}
