// The pages work without this. It adds: times as the reader wants them, live figures, keys, the drawer, completion, replay.

const page = document.documentElement;
const root = page.dataset.root;
const skew = Number(page.dataset.now) - Date.now();
const now = () => Date.now() + skew;
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);
const kept = (name, fallback) => { try { return localStorage.getItem(`streamproc.${name}`) ?? fallback; } catch { return fallback; } };
const keep = (name, value) => { try { localStorage.setItem(`streamproc.${name}`, value); } catch { /* not allowed here: it lasts as long as the page */ } };

// What is said to everybody, screen readers too; the newest replaces what was said before.
function say(text) {
  one("[data-said]").textContent = text;
}

// What is shown may be old then: the foot says as of when it is.
let fault = "";
function fell(text) {
  fault = text;
  say(text);
}

function recovered() {
  if (fault && one("[data-said]").textContent === fault) say("");
  fault = "";
}

function made(name, attributes = {}, ...content) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...content);
  return element;
}

// --- Themes and times ---

const THEMES = ["system", "light", "dark"];
const TIMES = ["UTC", "local", "relative"];
let theme = kept("theme", "system");
let times = kept("times", "UTC");

function themed() {
  if (theme === "system") delete page.dataset.theme;
  else page.dataset.theme = theme;
}

function span(milliseconds) {
  const seconds = Math.floor(Math.abs(milliseconds) / 1000), two = (n) => String(n).padStart(2, "0");
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return `${minutes}m ${two(seconds % 60)}s`;
  if (minutes < 60) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours}h ${two(minutes % 60)}m`;
  return `${Math.floor(hours / 24)}d ${hours % 24}h`;
}

const zoned = (at) => new Date(times === "local" ? at - new Date(at).getTimezoneOffset() * 60000 : at).toISOString();
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

// Of today without its day, of this year without its year: as the server writes it.
function stamp(at, exact) {
  const text = zoned(at), today = zoned(now()), day = text.slice(0, 10), clock = text.slice(11, exact ? 23 : 19);
  if (day === today.slice(0, 10)) return clock;
  if (day.slice(0, 4) !== today.slice(0, 4)) return `${day} ${clock}`;
  return `${Number(day.slice(8))} ${MONTHS[Number(day.slice(5, 7)) - 1]} ${clock}`;
}

function written(element) {
  const at = Date.parse(element.dateTime), kind = element.dataset.as, passed = now() - at;
  if (kind === "age") return span(Math.max(0, passed));
  if (kind === "left") return passed >= 0 ? `over by ${span(passed)}` : `in ${span(passed)}`;
  if (times === "relative") return passed >= 0 ? `${span(passed)} ago` : `in ${span(passed)}`;
  return stamp(at, kind === "exact");
}

function tell(within = document) {
  for (const element of all("time", within)) {
    const text = written(element);
    if (element.textContent !== text) element.textContent = text;
    if (element.dataset.as === "left") element.classList.toggle("over", now() >= Date.parse(element.dateTime));
  }
}

// --- Live, without disturbing ---

const LIVE = { focus: "Live", always: "Live, always", off: "Not live" };
const FIGURES_MS = 2000;
const LIST_MS = 30000;
const missed = { stream: false };
let live = kept("live", "focus");
let stream = null;
let before = null;

const isLooking = () => live === "always" || (live === "focus" && !document.hidden && document.hasFocus());
const isBusy = () => Boolean(one("dialog[open]")) || Boolean(one("#drawer:not([hidden])"));
const isPaused = () => live === "off" || !isLooking() || isBusy();

function shownLive() {
  const button = one("[data-live]");
  const paused = live !== "off" && isPaused();
  button.textContent = paused ? "Paused" : LIVE[live];
  button.title = "Live while this window is in front, always, or not";
  if (before !== null && before && !paused) {
    say("Live again");
    apply();
  }
  before = paused;
  connect();
}

// A hidden page gives its connection back: a browser has six for each host. Then what was missed is not known.
function connect() {
  const wanted = live !== "off" && (live === "always" || !document.hidden) && Boolean(one("[data-on], [data-pill]"));
  if (wanted && !stream) {
    const query = new URLSearchParams();
    const run = one("[data-of-run]")?.dataset.ofRun;
    if (run) query.set("run_id", run);
    stream = new EventSource(`${root}/api/v1/stream?${query}`);
    stream.addEventListener("transition", heard);
    stream.addEventListener("alert", heard);
    stream.addEventListener("open", recovered);
    stream.addEventListener("error", () => fell("The console does not answer: trying again"));
    if (missed.stream) {
      for (const part of parts.values()) if (part.on.length) part.isDue = true;
      list.isDue = true;
    }
  } else if (!wanted && stream) {
    stream.close();
    stream = null;
    missed.stream = true;
    const pill = one("[data-pill]");
    if (pill && pill.dataset.ofRuns === undefined) pill.dataset.unknown = "";
  }
}

function heard(message) {
  let event;
  try { event = JSON.parse(message.data); } catch { return; }
  for (const part of parts.values()) if (part.on.includes(event.kind)) part.isDue = true;
  counted(event);
  apply();
}

// Parts of the page that are fetched anew: those that say when (data-on, data-every).
const parts = new Map();

class Part {
  constructor(element) {
    this.element = element;
    this.name = element.dataset.part;
    this.on = element.dataset.on?.split(" ") ?? [];
    this.every = Number(element.dataset.every ?? 0) * 1000;
    this.at = Date.now();
    this.isDue = false;
    this.isUnderWay = false;
  }

  // Nothing is replaced under somebody's hands: a field that is being filled, text that is selected, a zoomed chart.
  isInUse() {
    const selection = getSelection(), focused = document.activeElement;
    return (!selection.isCollapsed && this.element.contains(selection.anchorNode))
      || (this.element.contains(focused) && focused.matches("input, select"))
      || Boolean(one("[data-zoomed], details[open]:not(.json details)", this.element));
  }

  async fetch() {
    if (this.isUnderWay) return;
    this.isUnderWay = true;
    this.isDue = false;
    this.at = Date.now();
    try {
      const url = new URL(location.href);
      url.searchParams.set("fragment", this.name);
      const response = await fetch(url);
      if (!response.ok) { fell(`The console answers ${response.status}`); return; }
      const text = await response.text();
      recovered();
      const focus = focusedIn(this.element);
      filled(this.element, text);
      focus?.();
    } catch { fell("The console does not answer"); } finally {
      this.isUnderWay = false;
    }
  }

  tick() {
    const passed = Date.now() - this.at;
    if (this.every && passed >= this.every) this.isDue = true;
    if (this.isDue && passed >= FIGURES_MS && !isPaused() && !this.isInUse()) this.fetch();
  }
}

// Brings the focus back to the link that had it, if it is still there.
function focusedIn(element) {
  const focused = document.activeElement;
  if (!element.contains(focused) || !focused.href) return null;
  const href = focused.getAttribute("href");
  return () => all("a", element).find((link) => link.getAttribute("href") === href)?.focus({ preventScroll: true });
}

// A part brings the foot along: as of when it is.
function filled(element, text) {
  for (const chart of all("[data-chart]", element)) chart.undraw?.();
  element.innerHTML = text;
  const foot = one("template[data-foot]", element);
  if (foot) { one("#as-of").replaceChildren(foot.content); tell(one("#as-of")); labelled(); foot.remove(); }
  dressed(element);
}

function apply() {
  for (const part of parts.values()) part.tick();
  if (one("[data-of-runs]") && !isPaused()) looked();
  shownPill();
}

// --- "12 new": what is behind the list that is shown ---

const news = new Set();
const list = { isDue: false, isUnderWay: false, at: Date.now(), heardAt: 0 };

function counted(event) {
  const pill = one("[data-pill]");
  if (!pill) return;
  if (pill.dataset.ofRun !== undefined) { if (event.run_id === pill.dataset.ofRun) news.add(event.id); }
  else if (pill.dataset.ofAlerts !== undefined) { if (event.kind === "alert") news.add(event.id); }
  else if (event.kind === "transition") {
    list.isDue = true;
    list.heardAt = Date.now();
    for (const row of all("[data-rows] tr[data-run]")) {
      if (row.dataset.run === event.run_id) { row.classList.add("changed"); row.title = `now ${event.step.to_status}`; }
    }
  }
}

// Which rows the list would have that are not shown: the server is asked, as only it can judge every filter.
async function looked() {
  const passed = Date.now() - list.at;
  if (list.isUnderWay || passed < FIGURES_MS || !(list.isDue || passed >= LIST_MS)) return;
  list.isUnderWay = true;
  list.at = Date.now();
  // Once more after that: a run's state may come in behind what tells of it.
  list.isDue = list.at - list.heardAt < FIGURES_MS;
  try {
    const url = new URL(location.href);
    url.searchParams.set("fragment", "keys");
    const response = await fetch(url);
    if (!response.ok) { fell(`The console answers ${response.status}`); list.isDue = true; return; }
    const { keys } = await response.json(), here = new Set(all("[data-rows] tr[data-key]").map((row) => row.dataset.key));
    recovered();
    news.clear();
    for (const key of keys) if (!here.has(key)) news.add(key);
    shownPill();
  } catch { fell("The console does not answer"); list.isDue = true; } finally {
    list.isUnderWay = false;
  }
}

function shownPill() {
  const pill = one("[data-pill]");
  if (!pill || isPaused()) return;
  const unknown = pill.dataset.unknown !== undefined;
  pill.hidden = !news.size && !unknown;
  const text = news.size ? `${news.size} new` : "Look again";
  if (pill.textContent !== text) pill.textContent = text;
}

async function applied() {
  const part = [...parts.values()].find((found) => one("[data-pill]", found.element));
  news.clear();
  await part?.fetch();
  say("The list is new");
}

// --- Rows, and the drawer ---

let chosen = null;

const rows = () => all("[data-rows] tbody tr[data-href]");
const drawer = () => one("#drawer");

function choose(row) {
  for (const other of rows()) other.removeAttribute("aria-current");
  chosen = row;
  if (!row) return;
  row.setAttribute("aria-current", "true");
  row.scrollIntoView({ block: "nearest" });
  if (drawer() && !drawer().hidden) peek(row);
}

function step(by) {
  const found = rows();
  if (!found.length) return;
  const at = found.indexOf(chosen);
  choose(found[Math.min(found.length - 1, Math.max(0, at < 0 ? 0 : at + by))]);
}

let asked = 0;
async function peek(row) {
  const panel = drawer();
  if (!panel || row.dataset.run === undefined) { location.assign(row.dataset.href); return; }
  const number = ++asked;
  const url = new URL(row.dataset.href, location.href);
  url.searchParams.set("fragment", "peek");
  let text;
  try {
    const response = await fetch(url);
    if (!response.ok) { location.assign(row.dataset.href); return; }
    text = await response.text();
  } catch { say("The console does not answer"); return; }
  if (number !== asked) return;
  filled(panel, text);
  panel.hidden = false;
  panel.scrollTop = 0;
  say(`Looking into ${shown(row.dataset.run)}`);
  shownLive();
}

function closed() {
  const panel = drawer();
  if (!panel || panel.hidden) return false;
  asked++;
  panel.hidden = true;
  panel.replaceChildren();
  shownLive();
  return true;
}

// --- Keys ---

const isTyping = (target) => target.matches("input, select, textarea, [contenteditable]");

function entered(target) {
  if (target.closest("a, button, summary")) return false;
  if (!chosen?.isConnected) return false;
  if (drawer() && !drawer().hidden || chosen.dataset.run === undefined) location.assign(chosen.dataset.href);
  else peek(chosen);
  return true;
}

const KEYS = {
  "/": () => { const bar = one("[data-bar]"); bar?.focus(); bar?.select(); return Boolean(bar); },
  "?": () => { one("#help").showModal(); shownLive(); return true; },
  j: () => { step(1); return true; },
  k: () => { step(-1); return true; },
  r: () => { location.reload(); return true; },
  t: () => { switched(); return true; },
  Enter: entered,
  Escape: closed,
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape" && !event.defaultPrevented) event.target.blur();
    return;
  }
  if (one("dialog[open]")) return;
  if (KEYS[event.key]?.(event.target)) event.preventDefault();
});

function switched() {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  keep("theme", theme);
  themed();
  labelled();
  for (const chart of all("[data-chart]")) drawn(chart);
}

function labelled() {
  one("[data-theme-switch]").textContent = `Theme: ${theme}`;
  for (const zone of all("[data-zone]")) zone.textContent = times === "UTC" ? "UTC" : "";
  one("[data-times]").textContent = times === "relative" ? "Times: relative" : `Times: ${times}`;
}

// --- Clicks ---

document.addEventListener("click", async (event) => {
  const target = event.target;
  const without = event.altKey && target.closest(".cell")?.querySelector(".without");
  if (without) { event.preventDefault(); location.assign(without.href); return; }
  const button = target.closest("button");
  if (button?.dataset.copy !== undefined) {
    try { await navigator.clipboard.writeText(button.dataset.copy); say("Copied"); } catch { say("The browser does not let this page copy"); }
    return;
  }
  if (button?.dataset.pill !== undefined) { applied(); return; }
  if (button?.dataset.close !== undefined) { closed(); return; }
  const row = target.closest("[data-rows] tr[data-href]");
  if (row && !target.closest("a, button, input, label") && getSelection().isCollapsed) { choose(row); if (drawer()?.hidden !== false) peek(row); }
});

// --- Completion of the bar ---

class Completion {
  constructor(input) {
    this.input = input;
    this.examples = JSON.parse(input.dataset.complete);
    this.list = made("ul", { id: "options", class: "options", role: "listbox", "aria-label": "Completions", hidden: "" });
    this.at = -1;
    this.asked = 0;
    input.after(this.list);
    for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-controls": "options", "aria-expanded": "false" })) input.setAttribute(name, value);
    input.addEventListener("input", () => this.offer());
    input.addEventListener("focus", () => { if (!input.value) this.offer(); });
    input.addEventListener("blur", () => this.hide());
    input.addEventListener("keydown", (event) => this.pressed(event));
    this.list.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      const option = event.target.closest("li");
      if (option) this.take(option);
    });
  }

  // The word at the cursor: a minus, a qualifier, the values before, and what is being typed.
  word() {
    const text = this.input.value.slice(0, this.input.selectionStart);
    const start = text.lastIndexOf(" ") + 1;
    return { start, text: text.slice(start) };
  }

  async offer() {
    const { text } = this.word(), number = ++this.asked;
    const [, minus, name, values] = /^(-?)(?:([a-z]+):)?(.*)$/s.exec(text);
    if (!name) { this.show(Object.entries(this.examples).filter(([key]) => key.startsWith(values)).map(([key, what]) => [minus + key, what])); return; }
    if (name === "is") { this.show(Object.entries(this.examples).filter(([key]) => key.startsWith(text))); return; }
    if (name === "age") { this.show(["5m", "10m", "1h", "1d"].map((age) => [`age:${/^[<>]/.test(values) ? values[0] : ">"}${age}`, ""]).filter(([key]) => key.startsWith(text))); return; }
    const prefix = values.slice(values.lastIndexOf(",") + 1), head = text.slice(0, text.length - prefix.length);
    if (prefix.startsWith('"')) { this.hide(); return; }
    try {
      const response = await fetch(`${root}/complete?${new URLSearchParams({ qualifier: name, prefix })}`);
      if (!response.ok || number !== this.asked) return;
      const { items } = await response.json();
      if (number === this.asked) this.show(items.map(([value, count]) => [head + quoted(value), count.toLocaleString("en")]));
    } catch { this.hide(); }
  }

  show(options) {
    this.at = -1;
    this.input.removeAttribute("aria-activedescendant");
    this.list.replaceChildren(...options.slice(0, 20).map(([value, what], n) => {
      const option = made("li", { role: "option", id: `option-${n}`, "aria-selected": "false" }, made("bdi", {}, shown(value)), made("span", {}, what));
      option.value_ = value;
      return option;
    }));
    this.list.hidden = !options.length;
    this.input.setAttribute("aria-expanded", String(!this.list.hidden));
  }

  hide() {
    this.asked++;
    this.show([]);
  }

  take(option) {
    const { start } = this.word(), rest = this.input.value.slice(this.input.selectionStart);
    const value = option.value_, isWhole = !/[:<>.]$/.test(value);
    this.input.value = this.input.value.slice(0, start) + value + (isWhole && !rest ? " " : "") + rest;
    const end = start + value.length + (isWhole && !rest ? 1 : 0);
    this.input.setSelectionRange(end, end);
    if (isWhole) this.hide();
    else this.offer();
  }

  pressed(event) {
    if (this.list.hidden) return;
    const options = [...this.list.children];
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      this.at = (this.at + (event.key === "ArrowDown" ? 1 : -1) + options.length) % options.length;
      options.forEach((option, n) => option.setAttribute("aria-selected", String(n === this.at)));
      options[this.at].scrollIntoView({ block: "nearest" });
      this.input.setAttribute("aria-activedescendant", options[this.at].id);
    } else if ((event.key === "Enter" || event.key === "Tab") && this.at >= 0) this.take(options[this.at]);
    else if (event.key === "Tab" && options.length === 1) this.take(options[0]);
    else if (event.key === "Escape") this.hide();
    else return;
    event.preventDefault();
  }
}

// As streamproc/console/qualifiers.py writes a value.
const quoted = (value) => (/[\s\\,":-]/.test(value) ? `"${value.replace(/(["\\])/g, "\\$1")}"` : value);
const shown = (text) => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (char) => `\\u${char.codePointAt(0).toString(16).padStart(4, "0")}`);

// --- Replay of dead letters ---

class Replaying {
  constructor(dialog, button) {
    this.dialog = dialog;
    this.button = button;
    this.found = null;
    one("[data-send]", dialog).addEventListener("click", () => this.send());
    one("[data-confirm]", dialog).addEventListener("input", () => this.confirmed());
    one("[data-confirm]", dialog).addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); if (!one("[data-send]", dialog).disabled) this.send(); }
    });
    dialog.addEventListener("close", () => { shownLive(); if (this.isDone) location.reload(); });
    button.addEventListener("click", () => this.open());
  }

  part(name) { return one(`[data-step="${name}"]`, this.dialog); }

  asked(changes) {
    const places = all("[data-place]:checked").map((box) => box.dataset.place.split(":").map(Number));
    const filter = JSON.parse(this.button.dataset.replay);
    return { ...filter, places: places.length ? places : filter.places, expected: null, ...changes };
  }

  async post(body) {
    const response = await fetch(`${root}/api/v1/dead-letters/replay`, {
      method: "POST", body: JSON.stringify(body),
      headers: { "Content-Type": "application/json", "X-CSRF-Token": this.button.dataset.csrf },
    });
    const answer = await response.json();
    if (!response.ok) throw Object.assign(new Error(answer.detail ?? answer.title ?? `${response.status}`), answer);
    return answer;
  }

  async open() {
    const chosenOnes = all("[data-place]:checked").length;
    this.isDone = false;
    this.found = null;
    const { places, ...filter } = this.asked({}), isAll = !places.length && !Object.entries(filter).some(([name, value]) => name !== "open_only" && value !== null);
    this.part("what").textContent = chosenOnes ? `${chosenOnes} chosen.` : places.length ? "This one." : isAll ? "All dead letters." : "All that the filter finds.";
    this.part("found").replaceChildren("Looking, without sending anything…");
    this.part("confirm").hidden = this.part("problem").hidden = true;
    one("[data-send]", this.dialog).disabled = true;
    one("[data-send]", this.dialog).hidden = false;
    one("[data-cancel]", this.dialog).textContent = "Cancel";
    one("[data-confirm]", this.dialog).value = "";
    if (!this.dialog.open) this.dialog.showModal();
    shownLive();
    try {
      const answer = await this.post(this.asked({ dry_run: true }));
      this.offer(answer);
    } catch (error) { this.failed(error); }
  }

  offer(answer) {
    this.found = answer.to_replay;
    this.list(`${answer.to_replay.toLocaleString("en")} would be sent back.`, answer);
    this.part("confirm").hidden = !answer.to_replay;
    if (answer.to_replay) one("[data-confirm]", this.dialog).focus();
  }

  list(text, answer) {
    const counts = made("dl", { class: "counts" });
    for (const [name, count] of Object.entries(answer.counts)) counts.append(made("dt", {}, shown(name)), made("dd", { class: "n" }, count.toLocaleString("en")));
    const warnings = made("ul");
    for (const warning of answer.warnings) warnings.append(made("li", {}, shown(warning)));
    this.part("found").replaceChildren(made("p", {}, made("strong", {}, text)), counts, ...(answer.warnings.length ? [warnings] : []));
  }

  confirmed() {
    const typed = one("[data-confirm]", this.dialog).value.replace(/[,\s]/g, "");
    one("[data-send]", this.dialog).disabled = typed === "" || Number(typed) !== this.found;
  }

  async send() {
    one("[data-send]", this.dialog).disabled = true;
    this.part("problem").hidden = true;
    try {
      const answer = await this.post(this.asked({ dry_run: false, expected: this.found }));
      this.isDone = true;
      this.part("confirm").hidden = true;
      one("[data-send]", this.dialog).hidden = true;
      one("[data-cancel]", this.dialog).textContent = "Done";
      this.list(`${answer.replayed.toLocaleString("en")} were sent back.`, answer);
    } catch (error) { this.failed(error); }
  }

  failed(error) {
    this.part("problem").textContent = shown(error.message);
    this.part("problem").hidden = false;
    if (typeof error.now === "number") {
      one("[data-confirm]", this.dialog).value = "";
      this.offer({ to_replay: error.now, counts: {}, warnings: [] });
    } else if (this.found === null) this.part("found").replaceChildren();
  }
}

// --- The chart ---

// A tick says its day where a day begins.
function ticked(at, last) {
  const text = zoned(at * 1000), clock = text.slice(11, 16);
  const isNew = last === undefined ? text.slice(0, 10) !== zoned(now()).slice(0, 10) : text.slice(0, 10) !== zoned(last * 1000).slice(0, 10);
  const day = `${Number(text.slice(8, 10))} ${MONTHS[Number(text.slice(5, 7)) - 1]}`;
  return isNew ? (clock === "00:00" ? day : `${clock}\n${day}`) : clock;
}

function drawn(element) {
  const { names, columns } = JSON.parse(element.dataset.chart), style = getComputedStyle(element);
  const probe = made("span"), colour = (name) => { probe.style.color = `var(${name})`; return getComputedStyle(probe).color; };
  element.append(probe);
  const [dim, grid] = [colour("--dim"), colour("--line")], font = `11px ${style.fontFamily}`;
  const axis = { stroke: dim, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, font };
  const lines = names.map((label, n) => ({ label, stroke: colour(`--line${n % 6}`), width: 1.4, dash: n > 5 ? [4, 3] : undefined, points: { show: false }, value: (_, value) => value === null ? "–" : value.toLocaleString("en", { maximumFractionDigits: 1 }) }));
  element.undraw?.();
  element.replaceChildren();
  const chart = new uPlot({
    width: element.clientWidth, height: element.clientHeight - 30,
    series: [{ value: (_, value) => value === null ? "–" : stamp(value * 1000) }, ...lines],
    axes: [{ ...axis, values: (_, ticks) => ticks.map((tick, n) => ticked(tick, ticks[n - 1])) }, { ...axis, size: 56, values: (_, values) => values.map((value) => value.toLocaleString("en", { notation: "compact" })) }],
    scales: { y: { range: (_, low, high) => [0, high || 1] } },
    tzDate: (seconds) => times === "local" ? new Date(seconds * 1000) : uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    cursor: { drag: { x: true, y: false } },
    hooks: { setScale: [(plot, name) => {
      if (name !== "x") return;
      const isWhole = plot.scales.x.min <= columns[0][0] && plot.scales.x.max >= columns[0].at(-1);
      element.toggleAttribute("data-zoomed", !isWhole);
    }] },
  }, columns, element);
  const observer = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: element.clientHeight - 30 }));
  observer.observe(element);
  // It listens to the window: a page that is open all day draws it often.
  element.undraw = () => { observer.disconnect(); chart.destroy(); };
}

// --- What a page has, and what comes in later ---

function dressed(within) {
  tell(within);
  for (const button of all("button[data-copy], button[data-replay]", within)) button.hidden = false;
  for (const field of all("form[data-auto] select, form[data-auto] input[type=checkbox]", within)) field.addEventListener("change", () => sent(field.form));
  for (const form of all("form[data-auto]", within)) form.addEventListener("submit", (event) => { event.preventDefault(); sent(form); });
  if (window.uPlot) for (const chart of all("[data-chart]", within)) drawn(chart);
  for (const button of all("button[data-replay]", within)) if (one("#replay")) new Replaying(one("#replay"), button);
  if (chosen && !chosen.isConnected) choose(rows().find((row) => row.dataset.href === chosen.dataset.href) ?? null);
}

// Only what was filled in is in the URL.
function sent(form) {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (value.trim()) query.append(name, value.trim());
  location.assign(`${form.action}${query.size ? "?" : ""}${query}`);
}

// A run that is not here yet may come in a moment.
function awaited() {
  one("[data-awaits]").hidden = false;
  const timer = setInterval(async () => {
    if (document.hidden) return;
    try {
      if ((await fetch(location.href, { method: "GET" })).ok) { clearInterval(timer); location.reload(); }
    } catch { /* not yet */ }
  }, 3000);
}

function started() {
  page.classList.add("js");
  const controls = { "[data-times]": () => { times = TIMES[(TIMES.indexOf(times) + 1) % 3]; keep("times", times); labelled(); tell(); for (const chart of all("[data-chart]")) drawn(chart); },
    "[data-theme-switch]": switched,
    "[data-live]": () => { const states = Object.keys(LIVE); live = states[(states.indexOf(live) + 1) % states.length]; keep("live", live); shownLive(); },
    "[data-help]": KEYS["?"] };
  for (const [selector, pressed] of Object.entries(controls)) { one(selector).hidden = false; one(selector).addEventListener("click", () => pressed()); }
  labelled();
  for (const element of all("[data-part]")) parts.set(element.dataset.part, new Part(element));
  if (!parts.size) one("[data-live]").hidden = true;
  dressed(document);
  for (const input of all("[data-complete]")) new Completion(input);
  if (one("[data-awaits]")) awaited();
  one("#help").addEventListener("close", shownLive);
  for (const name of ["focus", "blur"]) addEventListener(name, shownLive);
  document.addEventListener("visibilitychange", shownLive);
  addEventListener("pagehide", () => { stream?.close(); stream = null; });
  addEventListener("pageshow", (event) => { if (event.persisted) shownLive(); });
  shownLive();
  setInterval(() => { tell(); apply(); }, 1000);
}

if (!THEMES.includes(theme)) theme = "system";
if (!TIMES.includes(times)) times = "UTC";
if (!(live in LIVE)) live = "focus";
themed();
started();
