"use strict";
const told = JSON.parse(document.getElementById("told").textContent);
const WIDTH = 640, HEIGHT = 220, LEFT = 62, RIGHT = 10, TOP = 10, BOTTOM = 24, LINES = 4;
const COLOURS = ["#2f6fde", "#d9822b", "#2b9a66", "#a84bc0", "#c23b4b", "#178a9c", "#8a6d1f", "#6a6fd1"];
const SVG = "http://www.w3.org/2000/svg";
let current = told.boards[0];

function made(name, attributes, text) {
  const one = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  if (text !== undefined) one.textContent = text;
  return one;
}

function element(name, text, kind) {
  const one = document.createElement(name);
  if (text !== undefined) one.textContent = text;
  if (kind) one.className = kind;
  return one;
}

function shown(value, unit) {
  if (unit === "percentunit") return `${+(value * 100).toPrecision(3)} %`;
  if (unit === "s" && value !== 0 && Math.abs(value) < 1) return `${+(value * 1000).toPrecision(3)} ms`;
  const words = { s: " s", reqps: " /s", decgbytes: " GB" };
  const size = Math.abs(value) >= 10000 ? `${+(value / 1000).toPrecision(3)} k` : `${+value.toPrecision(3)}`;
  return size + (words[unit] || "");
}

function called(legend, labels) {
  return legend.replace(/\{\{(\w+)\}\}/g, (_, name) => labels[name] || "").replace(/ +/g, " ").trim();
}

async function asked(path, parameters) {
  const answer = await fetch(`${path}?${new URLSearchParams(parameters)}`);
  const found = await answer.json();
  if (found.status !== "success") throw new Error(found.error || `status ${answer.status}`);
  return found.data;
}

async function lines(panel, end) {
  const start = end - told.seconds;
  const each = await Promise.all(panel.queries.map(async (query) => {
    const data = await asked("api/v1/query_range", { query: query.expr, start, end, step: told.step });
    return data.result.map((one) => ({
      name: called(query.legend, one.metric) || panel.title,
      points: one.values.map(([at, value]) => [at, Number(value)]).filter(([, value]) => Number.isFinite(value)),
    }));
  }));
  return each.flat().filter((one) => one.points.length);
}

function drawing(found, unit, end) {
  const start = Math.min(end - 60, ...found.map((one) => one.points[0][0]));
  const seconds = end - start;
  const highest = Math.max(...found.flatMap((one) => one.points.map(([, value]) => value)), 0);
  const top = highest > 0 ? highest * 1.08 : 1;
  const x = (at) => LEFT + ((at - start) / seconds) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  const svg = made("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  for (let line = 0; line <= LINES; line += 1) {
    const value = (top * line) / LINES;
    svg.append(made("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value), class: "grid" }));
    svg.append(made("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, shown(value, unit)));
  }
  for (const [at, anchor] of [[start, "start"], [start + seconds / 2, "middle"], [end, "end"]]) {
    const time = new Date(at * 1000).toLocaleTimeString();
    svg.append(made("text", { x: x(at), y: HEIGHT - 6, "text-anchor": anchor }, time));
  }
  found.forEach((one, number) => {
    let path = "", before = -Infinity;
    for (const [at, value] of one.points) {
      path += `${at - before > 1.5 * told.step ? "M" : "L"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
      before = at;
    }
    const stroke = COLOURS[number % COLOURS.length];
    svg.append(made("path", { d: `${path}h.01`, stroke, "stroke-linecap": "round" }));
  });
  return svg;
}

function legend(found, unit) {
  const list = element("ul", undefined, "legend");
  found.forEach((one, number) => {
    const item = element("li"), mark = element("b");
    mark.style.background = COLOURS[number % COLOURS.length];
    const last = one.points[one.points.length - 1][1];
    item.append(mark, element("span", one.name), element("em", shown(last, unit)));
    list.append(item);
  });
  return list;
}

async function draw(panel, section, end) {
  let parts;
  try {
    const found = await lines(panel, end);
    parts = found.length ? [drawing(found, panel.unit, end), legend(found, panel.unit)]
      : [element("div", "no data yet", "empty")];
  } catch (error) {
    parts = [element("div", `can't be asked: ${error.message}`, "empty")];
  }
  section.replaceChildren(element("h2", panel.title), element("p", panel.about), ...parts);
  section.dataset.drawn = parts.length > 1 ? "data" : "empty";
}

async function alerts() {
  const list = document.getElementById("alerts");
  try {
    const firing = (await asked("api/v1/alerts", {})).alerts.filter((one) => one.state === "firing");
    list.replaceChildren(...firing.map((one) => {
      const item = element("li", `${one.labels.alertname}: ${one.annotations.summary || ""}`);
      item.append(element("small", one.annotations.runbook || ""));
      return item;
    }));
  } catch (error) {
    list.replaceChildren(element("li", `Prometheus doesn't answer: ${error.message}`));
  }
}

async function refresh() {
  const end = Math.floor(Date.now() / 1000), sections = [...document.querySelectorAll("#panels section")];
  await Promise.all([alerts(), ...current.panels.map((panel, at) => draw(panel, sections[at], end))]);
  document.getElementById("at").textContent = new Date(end * 1000).toLocaleTimeString();
  document.body.dataset.round = Number(document.body.dataset.round || 0) + 1;
}

function choose(board) {
  current = board;
  for (const button of document.querySelectorAll("nav button")) {
    button.setAttribute("aria-current", String(button.dataset.name === board.name));
  }
  document.getElementById("panels").replaceChildren(...board.panels.map(() => element("section")));
  location.hash = board.name;
  return refresh();
}

for (const board of told.boards) {
  const button = element("button", board.title.replace("SGLang: ", ""));
  button.dataset.name = board.name;
  button.addEventListener("click", () => choose(board));
  document.querySelector("nav").append(button);
}
async function forever() {
  await refresh();
  setTimeout(forever, told.every * 1000);
}
choose(told.boards.find((board) => `#${board.name}` === location.hash) || current);
setTimeout(forever, told.every * 1000);
