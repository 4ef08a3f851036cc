// Steps through data.moments, one for each line executed, and shows what data.runs and data.worlds hold for it. All
// values are looked up: only positions, colours and roundings are computed here.
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const { moments, quantities, sizes, tags } = data;
const { states } = data;
const WAYS = { numpy: "NumPy", jax: "JAX", torch: "PyTorch", "finite differences": "finite differences" };
const SUMMED = ["dweight_ih", "dweight_hh", "dbias_ih", "dbias_hh"];
const inBoxes = ["x", ...states, "dh"];
const CHOICES = ["loss", "factor", "bug"];
const END = moments.length - 1;
const state = { moment: 0, ...Object.fromEntries(CHOICES.map((id) => [id, $(id).value])) };
let pinned = null; // the quantity that is compared, unless it is the one that the current line sets
let playing = null; // the timer
let run, world, scale;
const setters = {}; // quantity -> step -> the moments that set it
const groups = []; // the first and the last moment of every step in every direction
moments.forEach(({ t, phase, sets }, place) => {
  for (const name of sets) ((setters[name] ||= {})[t] ||= []).push(place);
  const last = moments[place - 1];
  if (last?.t === t && last.phase === phase) groups.at(-1)[1] = place;
  else groups.push([place, place]);
});
const blocks = [...document.querySelectorAll("[data-quantity]")].map((block) => {
  const [mark, note, button] = [".mark", ".set", "button"].map((part) => block.querySelector(part));
  const cells = [...block.querySelectorAll("[data-index]")].map((cell) => [cell, cell.dataset.index.split(",")]);
  return { block, name: block.dataset.quantity, mark, note, button, cells };
});
const boxes = [...document.querySelectorAll("#strip button")];

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// A symbol to be seen, and a word for screen readers.
const sign = (seen, heard) =>
  [element("span", { "aria-hidden": "true" }, seen), element("span", { class: "hidden" }, heard)];
const power = (text) => text.replace("e-", "e−").replace("e+", "e");

// A number with its sign and this many digits.
function shown(text, digits) {
  const value = Number(text);
  const size = Math.abs(value);
  const written = size < 1e-3 || size >= 1e5 ? power(size.toExponential(digits - 1)) : size.toPrecision(digits);
  return value ? (value < 0 ? "−" : "+") + written : "0";
}

const bare = (name) => name.replace("_step", "");
const title = (name) => name.replace(/_step$/, ", this step's part") + (SUMMED.includes(name) ? ", the sum" : "");
const span = (from, to) => (from === to ? `step ${from}` : `steps ${from} to ${to}`);

// "steps 1 to 3, step 5" of [true, true, true, false, true].
function ranges(marks) {
  const begins = marks.flatMap((mark, t) => (mark && !marks[t - 1] ? [t + 1] : []));
  const ends = marks.flatMap((mark, t) => (mark && !marks[t + 1] ? [t + 1] : []));
  return begins.map((from, place) => span(from, ends[place])).join(", ");
}

// Quantities of the same kind share a colour scale.
const kind = (name) => name.replace("target", "h").replace("dy", "dh").replace(/^[ifgorzn]$/, "gate").replace(/_([ifgorzn]|prev|next)$/, "");

function paint(cell, name, text) {
  const value = Number(text ?? 0);
  cell.classList.toggle("plus", value > 0);
  cell.classList.toggle("minus", value < 0);
  cell.style.setProperty("--strength", value ? Math.sqrt(Math.abs(value) / scale[kind(name)]).toFixed(3) : 0);
}

// The largest number of every kind, over all steps.
function measure() {
  const { start, target } = world.given;
  scale = {};
  for (const [name, numbers] of Object.entries({ x: world.values.x.given, target, ...run.values })) {
    const sizes = [numbers, states.includes(name) ? start[name] : []].flat(4).map((text) => Math.abs(text ?? 0));
    scale[kind(name)] = Math.max(scale[kind(name)] ?? 0, ...sizes);
  }
}

/* What is known at the present moment */

const now = () => moments[state.moment];
const group = () => groups.findIndex(([, last]) => state.moment <= last);
const known = (name, t) => name === "x" || setters[name]?.[t]?.[0] <= state.moment;
// The later line of this step that sets the quantity again.
const again = (name, t) => setters[name]?.[t]?.find((place) => place > state.moment);
const differs = (name, t) => known(name, t) && again(name, t) === undefined && run.agree[name]?.[t] === false;

// The step whose value is shown; for a sum, the step that was added last, or undefined.
const steps = [...boxes.keys()];
const stepOf = (name) => (SUMMED.includes(name) ? steps.find((t) => known(name, t)) : now().t);

// NumPy's numbers as text, or null while they are unknown.
function own(name, t) {
  if (name === "x") return world.values.x.given[t];
  if (!known(name, t)) return null;
  const setter = setters[name][t].filter((place) => place <= state.moment).at(-1);
  return (again(name, t) === undefined ? run.values : run.early[moments[setter].tag])[name][t];
}

// The numbers, the words under the name, and why there are no numbers.
function content(name, brief) {
  const [{ t, phase }, { start, target, dy }] = [now(), world.given];
  const before = { h_prev: "h", c_prev: "c" }[name];
  if (before) return t ? [run.values[before][t - 1], `${before} of step ${t}`] : [start[before], "start"];
  if (name === "target") return [target[t], target[t] ? "counts in L" : "not in L", "none"];
  if (name === "dy") return [phase === "backward" ? dy[t] : null, "its own loss"];
  if (name === "dh_next" && t === sizes.steps - 1) return [null, "none: last step", "none"];
  if (name === "dh_next") return [phase === "backward" ? run.values.dh_prev[t + 1] : null, `from step ${t + 2}`];
  return [own(name, stepOf(name)), brief];
}

// Whether the others agree on a quantity (true, false or "none"), and the words for it.
function verdict(name, t) {
  const later = again(name, t);
  if (name === "x") return ["none", "This is given, not computed."];
  if (!known(name, t)) return ["none", "Not yet computed."];
  if (later) return ["none", `It is compared after line (${moments[later].tag}) has set it again.`];
  if (!run.agree[name]) return ["none", "Only NumPy has a line for it, so there is nothing to compare."];
  return run.agree[name][t] ? [true, "✓ agree"] : [false, "✗ NumPy differs"];
}

/* Showing a moment */

const words = () => `step ${now().t + 1} of ${sizes.steps}, ${now().phase}, line (${now().tag})`;

function codeOf(tag, number) {
  return tags[tag].code.map(({ framework, where, relation, lines }) => {
    const numpy = framework === "NumPy";
    const file = element("span", { class: "file" }, where && numpy ? `${where}, line ${number}` : where);
    const remark = (text, kind = "relation") => element("p", { class: kind }, text);
    const code = lines.map((line) => Object.assign(element("code"), { innerHTML: line }));
    if (relation) code.unshift(remark(lines.length ? `${relation}:` : relation));
    if (numpy && run.changed[tag]) {
      const wrong = element("ins", {}, element("code", {}, run.changed[tag]));
      const right = element("del", {}, ...code.splice(0));
      code.push(remark("✗ planted mistake", "planted"), wrong, remark("instead of"), right);
    }
    return element("div", {}, element("dt", {}, framework, " ", file), element("dd", {}, ...code));
  });
}

function showLine(place) {
  const { tag, t, phase, number } = moments[place];
  $("line-title").textContent = `Current line (${tag})`;
  $("formula").innerHTML = tags[tag].formula;
  $("says").textContent = tags[tag].says;
  $("code").replaceChildren(...codeOf(tag, number));
  Object.assign($("line").dataset, { tag, t, phase });
}

// Reserves the height of the tallest line, so that nothing moves from line to line.
function reserve() {
  const body = $("line-body");
  body.style.minHeight = "";
  const heights = Object.keys(tags).map((tag) => {
    showLine(moments.findIndex((moment) => moment.tag === tag));
    return body.offsetHeight;
  });
  body.style.minHeight = `${Math.max(...heights) + 1}px`;
  showLine(state.moment);
}

function showValues() {
  const { t, sets } = now();
  const summed = stepOf("dweight_ih");
  $("values-title").textContent = `Values of step ${t + 1}`;
  $("sums").textContent = `The gradients, accumulated so far${summed >= 0 ? `: ${span(sizes.steps, summed + 1)}` : ""}`;
  for (const { name, block, mark, note, button, cells } of blocks) {
    const [numbers, remark, missing = "not yet"] = content(name, block.dataset.brief);
    const set = sets.includes(name);
    block.dataset.known = Boolean(numbers);
    block.classList.toggle("set-now", set);
    const wrong = name === "dh_next" ? differs("dh_prev", t + 1) : differs(name, stepOf(name));
    mark.replaceChildren(...(wrong ? sign("✗", "differs") : []));
    note.textContent = set ? "set now" : remark;
    button?.setAttribute("aria-pressed", pinned === name);
    for (const [cell, [row, column]] of cells) {
      const text = numbers && (column ? numbers[row][column] : numbers[row]);
      cell.replaceChildren(...(numbers ? [shown(text, 4)] : sign("–", missing)));
      if (numbers) cell.dataset.value = text;
      else delete cell.dataset.value;
      paint(cell, name, text);
    }
  }
}

function showStrip() {
  const { t, phase } = now();
  const fill = (box, name, numbers) => box.querySelectorAll(`[data-row="${name}"] i`).forEach((square, place) => {
    square.textContent = numbers ? shown(numbers[place], 1)[0] : "";
    paint(square, name, numbers?.[place]);
  });
  for (const name of states) fill(document.querySelector(".start"), name, world.given.start[name]);
  boxes.forEach((box, step) => {
    for (const name of inBoxes) fill(box, name, own(name, step));
    const [here, counts] = [step === t, Boolean(world.given.target[step])];
    box.setAttribute("aria-current", here ? "step" : "false");
    box.querySelector(".now").textContent = here ? "now" : "";
    box.querySelector("small").textContent = counts ? "counts in L" : "";
    const has = inBoxes.filter((name) => known(name, step)).join(" ");
    box.ariaLabel = `Step ${step + 1}${here ? ", now" : ""}${counts ? ", counts in the loss" : ""}; known: ${has}`;
  });
  $("strip").scrollLeft = boxes[t].offsetLeft + boxes[t].offsetWidth / 2 - $("strip").clientWidth / 2;
  $("way").textContent = $("way").dataset[phase];
}

function showFourWays(name, t, compared) {
  const { rows, columns, meaning } = quantities[name];
  const at = t === undefined ? "" : `of ${span(SUMMED.includes(name) ? sizes.steps : t + 1, t + 1)}`;
  $("four-title").replaceChildren("Four ways: ", element("code", {}, bare(name)), ` ${at}`);
  const others = now().sets.filter((other) => other !== name).map(bare);
  const also = others.length ? ` This line sets ${others.join(", ")}${pinned ? "" : " too"}.` : "";
  $("four-meaning").textContent = `${meaning[0].toUpperCase()}${meaning.slice(1)}.${also}`;
  $("unpin").hidden = !pinned;

  const ways = name === "x" ? { given: "given" } : WAYS;
  const numbersOf = (who) => (compared && world.values[name]?.[who]?.[t]) || null;
  const found = Object.keys(ways).map((who, place) => [who, place ? numbersOf(who) : own(name, t)]);
  const cell = (who, text, index) =>
    element("td", { "data-who": who, "data-index": index, ...(text && { "data-value": text }) },
      ...(text ? [shown(text, 6)] : sign("–", "none")));
  const line = (label, ...index) =>
    element("tr", {}, element("th", { scope: "row" }, label), ...found.map(([who, numbers]) =>
      cell(who, numbers && index.reduce((part, place) => part[place], numbers), index)));
  const lines = rows.flatMap((label, row) =>
    columns ? columns.map((other, column) => line(`${label}, ${other}`, row, column)) : [line(label, row)]);
  const gaps = found.map(([who]) => {
    const gap = compared && run.gaps[name]?.[who]?.[t];
    return gap ? element("td", { "data-gap": who }, Number(gap) ? power(gap) : "0") : element("td");
  });
  const heads = [["x", "dx"].includes(name) ? "input" : columns ? "place" : "unit", ...Object.values(ways)];
  const header = heads.map((head) => element("th", { scope: "col" }, head));
  const footer = element("tr", {}, element("th", { scope: "row" }, "difference"), ...gaps);
  const parts = { thead: [element("tr", {}, ...header)], tbody: lines, tfoot: [footer] };
  $("four-ways").replaceChildren(...Object.entries(parts).map(([part, rows]) => element(part, {}, ...rows)));
}

function render() {
  const name = pinned ?? now().sets[0];
  const [same, judged] = verdict(name, stepOf(name));
  document.body.dataset.moment = state.moment;
  $("slider").value = state.moment;
  $("slider").setAttribute("aria-valuetext", words());
  $("where").textContent = `${words()} · ${state.moment + 1} of ${moments.length}`;
  for (const id of ["first", "step-back", "line-back"]) $(id).setAttribute("aria-disabled", !state.moment);
  for (const id of ["last", "step-on", "line-on"]) $(id).setAttribute("aria-disabled", state.moment === END);
  showLine(state.moment);
  showValues();
  showStrip();
  showFourWays(name, stepOf(name), same !== "none");
  $("verdict").textContent = judged;
  $("verdict").dataset.agree = same;
  const said = `${tags[now().tag].says} ${title(name)}: ${judged.replace(/^. /, "")}`;
  if (!playing) $("live").textContent = `${words()}: ${said}`;
}

// Lists where the numbers with a planted mistake diverge from the others', in order of execution.
function listParted() {
  const wrong = (name) => run.agree[name].flatMap((same, t) => (same ? [] : [setters[name][t].at(-1)]));
  const firsts = Object.keys(run.agree).map((name) => [Math.min(...wrong(name)), name]);
  const parted = firsts.filter(([place]) => place <= END).sort(([one], [other]) => one - other);
  $("parted").replaceChildren(...parted.map(([place, name]) => {
    const button = element("button", { type: "button", "data-parted": name }, element("code", {}, title(name)));
    button.append(` differs at ${ranges(run.agree[name].map((same) => !same))}`);
    button.addEventListener("click", () => pin(name, place));
    return element("li", {}, button);
  }));
  $("mistake").hidden = !state.bug;
  $("means").textContent = data.means[state.bug] ?? "";
  $("first-parted").disabled = !parted.length;
  $("first-parted").onclick = () => {
    pin(null, parted[0][0]);
    $("line").scrollIntoView({ block: "nearest" });
  };
}

/* Moving */

// Keeps this moment in the address, as a link to it.
function remember() {
  const kept = new URLSearchParams(Object.entries(state).filter(([, value]) => value !== ""));
  try {
    history.replaceState(null, "", `#${kept}`);
  } catch {} // some browsers limit how often this may be called
}

function recall() {
  play(false);
  const kept = new URLSearchParams(location.hash.slice(1));
  for (const id of CHOICES) {
    const value = kept.get(id) ?? (id === "bug" ? "" : state[id]);
    if ([...$(id).options].some((option) => option.value === value)) state[id] = value;
  }
  if (state.bug) state.factor = "1.0";
  const moment = Number(kept.get("moment"));
  if (moments[moment]) state.moment = moment;
  load();
}

// Shows another loss, factor or mistake.
function load() {
  world = data.worlds[`${state.loss}/${state.factor}`];
  run = data.runs[`${state.loss}/${state.factor}/${state.bug}`];
  for (const id of CHOICES) $(id).value = state[id];
  measure();
  listParted();
  reserve();
  render();
}

function show(moment) {
  state.moment = Math.min(Math.max(moment, 0), END);
  render();
}

function go(moment, keep = true) {
  play(false);
  show(moment);
  if (keep) remember();
}

// The same line in another step; where the direction changes, the nearest line.
function along(to) {
  if (!groups[to]) return to < 0 ? 0 : END;
  const [first, last] = groups[to];
  if (moments[first].phase !== now().phase) return to > group() ? first : last;
  return first + state.moment - groups[group()][0];
}

const moves = {
  first: () => 0,
  "step-back": () => along(group() - 1),
  "line-back": () => state.moment - 1,
  "line-on": () => state.moment + 1,
  "step-on": () => along(group() + 1),
  last: () => END,
};

// Compares this quantity from now on, or (null) again the one that the current line sets.
function pin(name, place = state.moment) {
  pinned = name;
  go(place);
  if (name) $("verdict").scrollIntoView({ block: "nearest" });
}

function tick() {
  show(state.moment + 1);
  remember();
  if (state.moment === END) play(false);
}

function play(on) {
  if (on === Boolean(playing)) return;
  clearInterval(playing);
  playing = on ? setInterval(tick, 1000) : null;
  $("play").querySelector("span").textContent = on ? "pause" : "play";
  $("play").querySelector("path").setAttribute("d", on ? "M6 2h4v12H6zM14 2h4v12h-4z" : "M7 1v14l12-7z");
  show(on && state.moment === END ? 0 : state.moment);
}

function choose(id) {
  state[id] = $(id).value;
  let notice = "";
  if (state.bug && Number(state.factor) !== 1) {
    notice = id === "bug" ? "The factor of W_hh has been set back to 1" : "The planted mistake has been removed";
    notice += ", because mistakes can be planted only with the factor 1.";
    Object.assign(state, id === "bug" ? { factor: "1.0" } : { bug: "" });
  }
  $("notice").textContent = notice;
  play(false);
  load();
  remember();
}

const KEYS = Object.fromEntries(Object.keys(moves).map((id) => [$(id).getAttribute("aria-keyshortcuts"), id]));

function pressed(event) {
  const { target, key, shiftKey } = event;
  if (event.ctrlKey || event.altKey || event.metaKey || target.matches("select, input, [role=region]")) return;
  const move = shiftKey ? KEYS[key]?.replace("line", "step") : KEYS[key];
  if (move && (!shiftKey || key.startsWith("Arrow"))) go(moves[move](), !event.repeat);
  else if (key === " " && !event.repeat && !target.closest("button, summary, a")) play(!playing);
  else return;
  event.preventDefault();
}

recall();
for (const id in moves) $(id).addEventListener("click", () => go(moves[id]()));
for (const id of CHOICES) $(id).addEventListener("change", () => choose(id));
for (const { button, name } of blocks) button?.addEventListener("click", () => pin(pinned === name ? null : name));
boxes.forEach((box, t) => box.addEventListener("click", () =>
  go(along(groups.findIndex(([first]) => moments[first].t === t && moments[first].phase === now().phase)))));
$("play").addEventListener("click", () => play(!playing));
$("slider").addEventListener("input", () => go(Number($("slider").value), false));
$("slider").addEventListener("change", remember);
$("unpin").addEventListener("click", () => { pin(null); $("line").focus(); });
addEventListener("keydown", pressed);
addEventListener("keyup", ({ key }) => key in KEYS && remember());
addEventListener("hashchange", recall);
addEventListener("resize", reserve);
addEventListener("visibilitychange", () => { if (document.hidden) play(false); });
