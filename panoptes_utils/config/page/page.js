"use strict";

const byId = (id) => document.getElementById(id);
const REFRESH_MS = 5000;
let shown = "";

// Text goes in as text nodes only: a value of the configuration is never markup.
function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function keyButton(name, path) {
  const button = element("button", "key", name);
  button.type = "button";
  button.dataset.path = path;
  button.title = path;
  return button;
}

function branch(name, path, value, open) {
  const empty = value === null || value === "" || (typeof value === "object" && !Object.keys(value).length);
  if (empty || typeof value !== "object") {
    const leaf = element("div", "leaf");
    const text = empty ? JSON.stringify(value) : String(value);
    leaf.append(keyButton(name, path), ": ", element("span", empty ? "value empty" : "value", text));
    leaf.dataset.text = `${path} ${text}`.toLowerCase();
    return leaf;
  }
  const entries = Array.isArray(value)
    ? value.map((below, index) => [`[${index}]`, `${path}[${index}]`, below])
    : Object.entries(value).map(([key, below]) => [key, `${path}.${key}`, below]);
  const details = element("details");
  details.open = open.has(path);
  details.dataset.path = path;
  details.dataset.text = path.toLowerCase();
  const summary = element("summary");
  const unit = entries.length === 1 ? "entry" : "entries";
  summary.append(keyButton(name, path), element("span", "size", `  ${entries.length} ${unit}`));
  const below = element("div");
  below.append(...entries.map((entry) => branch(...entry, open)));
  details.append(summary, below);
  return details;
}

function drawTree(config) {
  const tree = byId("tree");
  const first = !tree.childElementCount;
  const open = new Set([...tree.querySelectorAll("details[open]")].map((node) => node.dataset.path));
  if (first) Object.keys(config).forEach((key) => open.add(key));
  tree.replaceChildren(...Object.entries(config).map(([key, value]) => branch(key, key, value, open)));
  search();
}

function mark(node, word) {
  const text = node.textContent;
  const at = word ? text.toLowerCase().indexOf(word) : -1;
  if (at < 0) {
    node.replaceChildren(text);
  } else {
    node.replaceChildren(text.slice(0, at), element("mark", "", text.slice(at, at + word.length)),
      text.slice(at + word.length));
  }
}

function search() {
  const word = byId("search").value.trim().toLowerCase();
  let found = 0;
  const visit = (node, above) => {
    const here = !word || node.dataset.text.includes(word);
    let visible = here;
    if (node.tagName === "DETAILS") {
      for (const below of node.lastElementChild.children) visible = visit(below, above || here) || visible;
      if (word && visible) node.open = true;
    } else if (word && here) {
      found += 1;
    }
    node.hidden = !(visible || above);
    return visible;
  };
  for (const node of byId("tree").children) visit(node, false);
  for (const node of document.querySelectorAll("#tree .key, #tree .value")) mark(node, word);
  byId("found").textContent = word ? `${found} found` : "";
}

function state(id, up, text) {
  byId(id).textContent = text;
  byId(id).className = `state ${up ? "up" : "down"}`;
}

function drawStatus(status) {
  const name = status.name || "PANOPTES unit";
  byId("name").textContent = name;
  document.title = `${name} · PANOPTES`;
  byId("pan-id").textContent = status.pan_id || "";
  const digest = /@sha256:([0-9a-f]{12})/.exec(status.image || "");
  byId("release").textContent = [status.release || `panoptes_utils ${status.version}`, digest && digest[1]]
    .filter(Boolean).join(" · ");
  byId("release").title = status.image || "";
  byId("file").textContent = `${status.config_file} · version ${status.version}`;
  const up = status.hub.state === "up";
  state("hub", up, up ? "up" : `down (${status.hub.reason})`);
  byId("pairs-section").hidden = !up;
  byId("pairs").replaceChildren(...(status.hub.pairs || []).map((pair) => {
    const row = element("tr");
    const cells = [`${pair.sub}→${pair.pub}`, pair.messages_per_second, pair.bytes_per_second,
      pair.publishers, pair.subscribers, pair.lost_estimate];
    row.append(...cells.map((cell) => element("td", "", typeof cell === "number" ? cell.toLocaleString("en") : cell)));
    return row;
  }));
}

async function refresh() {
  try {
    const [config, status] = await Promise.all(["get-config", "status"].map(async (path) => {
      const answer = await fetch(path, { headers: { accept: "application/json" } });
      if (!answer.ok) throw new Error(`answer ${answer.status}`);
      return answer.json();
    }));
    const text = JSON.stringify(config);
    if (text !== shown) drawTree(config);
    shown = text;
    drawStatus(status);
    state("server", true, "up");
  } catch (problem) {
    state("server", false, `no answer (${problem.message})`);
  }
  setTimeout(refresh, REFRESH_MS);
}

byId("search").addEventListener("input", search);
byId("open").addEventListener("click", () => document.querySelectorAll("#tree details").forEach((d) => { d.open = true; }));
byId("shut").addEventListener("click", () => document.querySelectorAll("#tree details").forEach((d) => { d.open = false; }));
byId("tree").addEventListener("click", async (event) => {
  const key = event.target.closest(".key");
  if (!key) return;
  event.preventDefault();
  const path = key.dataset.path;
  try {
    await navigator.clipboard.writeText(path);
    byId("copied").textContent = `Copied ${path}`;
  } catch {
    // Browsers give the clipboard only to loopback and HTTPS pages.
    byId("copied").textContent = path;
  }
});
refresh();
