// Where Streamlit's own scripts come from is where the server is, whatever path it was given or a proxy put before it.
const home = () => [...document.scripts].map((script) => script.src.split("/static/js/")).find((parts) => parts.length > 1);

export default function (component) {
  const { data } = component;
  if (window.seqrlPlotly || !data) return;
  window.seqrlPlotly = new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `${home()[0]}/${data}`;
    script.onload = () => resolve(window.Plotly);
    script.onerror = reject;
    document.head.appendChild(script);
  });
}
