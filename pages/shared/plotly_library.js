export default function (component) {
  const { data } = component;
  if (window.seqrlPlotly || !data) return;
  window.seqrlPlotly = new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = URL.createObjectURL(new Blob([data], { type: "text/javascript" }));
    script.onload = () => resolve(window.Plotly);
    script.onerror = reject;
    document.head.appendChild(script);
  });
}
