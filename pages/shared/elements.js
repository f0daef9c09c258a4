// What every player is made of.
const make = (tag, name, text) => {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
};
const button = (text, label, act) => {
  const element = make("button", "", text);
  element.type = "button";
  element.setAttribute("aria-label", label);
  element.title = label;
  element.onclick = act;
  return element;
};
const shorten = (value) => {
  if (value === null || !Number.isFinite(value)) return "–";
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en").replaceAll(",", "\u2009").replace("-", "−")
    : Number(value.toPrecision(3)).toString().replace("-", "−");
};
