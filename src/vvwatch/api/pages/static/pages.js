// Keeps open pages live: listens for hints from the server, fetches the page again and morphs its live region.
// Without this script the pages work too; they show what they knew when they were loaded.
"use strict";
(() => {
  const regions = () => [...document.querySelectorAll("[data-live-region]"), document.getElementById("banners")].filter(Boolean);
  const isLive = document.querySelector("[data-live-region]") !== null;
  const stale = document.getElementById("stale");
  let source = null;
  let fetching = false;
  let wanted = false;
  let notBefore = 0;
  let timer = null;
  let wait = 1000;

  function sayStale(isStale) {
    if (stale) stale.hidden = !isStale;
  }

  // A region with a field in use is left alone: nobody types into what moves.
  function isInUse(region) {
    const active = document.activeElement;
    return Boolean(active && region.contains(active) && active.matches("input, select, textarea"));
  }

  async function refresh() {
    wanted = true;
    if (fetching || document.hidden) return;
    const delay = notBefore - Date.now();
    if (delay > 0) {
      timer ??= setTimeout(() => { timer = null; refresh(); }, delay);
      return;
    }
    fetching = true;
    wanted = false;
    const begun = Date.now();
    try {
      const response = await fetch(location.href, { headers: { "HX-Request": "true" }, credentials: "same-origin" });
      if (response.status === 401) return void location.reload();
      if (!response.ok) throw new Error(String(response.status));
      const text = await response.text();
      for (const region of regions()) {
        if (!isInUse(region)) await htmx.swap({ text, target: region, select: `#${region.id}`, swap: "outerMorph", sourceElement: region });
      }
      sayStale(false);
    } catch {
      sayStale(true);
    } finally {
      fetching = false;
      notBefore = Date.now() + Math.max(1000, 10 * (Date.now() - begun));
      if (wanted) refresh();
    }
  }

  function close() {
    source?.close();
    source = null;
  }

  // EventSource connects again by itself after a broken connection, but not after an error response.
  function listen() {
    if (source || document.hidden) return;
    source = new EventSource("/live");
    source.onmessage = (event) => {
      wait = 1000;
      sayStale(false);
      if (event.data === "changed") refresh();
    };
    source.onerror = () => {
      sayStale(true);
      if (source && source.readyState === EventSource.CLOSED) {
        close();
        setTimeout(reconnect, wait);
        wait = Math.min(2 * wait, 60000);
      }
    };
  }

  async function reconnect() {
    try {
      const response = await fetch(location.href, { method: "HEAD", headers: { "HX-Request": "true" } });
      if (response.status === 401) return void location.reload();
    } catch { /* the server is away: try again */ }
    listen();
  }

  function describe(seconds) {
    const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
    const parts = [];
    let left = Math.max(0, Math.floor(seconds));
    for (const [unit, size] of units) {
      const count = Math.floor(left / size);
      left -= count * size;
      if (count) parts.push(`${count} ${unit}`);
    }
    return parts.slice(0, 2).join(" ") || "0 s";
  }

  function tick() {
    if (document.hidden) return;
    for (const each of document.querySelectorAll("time[data-live]")) {
      const ago = (Date.now() - Date.parse(each.dateTime)) / 1000;
      const text = Math.abs(ago) < 1 ? "now" : ago < 0 ? `in ${describe(-ago)}` : `${describe(ago)} ago`;
      if (each.textContent !== text) each.textContent = text;
    }
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return close();
    if (isLive) listen();
    if (isLive) refresh();
  });
  setInterval(tick, 1000);
  if (isLive) listen();
})();
