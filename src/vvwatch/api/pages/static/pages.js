// Keeps open pages live: listens for hints from the server, fetches the page again and morphs its live region.
// Without this script the pages work too; they show what they knew when they were loaded.
"use strict";
(() => {
  const region = () => document.querySelector("[data-live-region]");
  const stale = document.getElementById("stale");
  let source = null;
  let fetching = false;
  let wanted = false;
  let notBefore = 0;
  let wait = 1000;

  function sayStale(isStale) {
    if (stale) stale.hidden = !isStale;
  }

  // A region with an open menu or a field in use is left alone: nobody types into what moves.
  function isInUse() {
    const active = document.activeElement;
    return Boolean(active && region()?.contains(active) && active.matches("input, select, textarea"));
  }

  async function refresh() {
    wanted = true;
    if (fetching || isInUse() || document.hidden) return;
    const delay = notBefore - Date.now();
    if (delay > 0) return void setTimeout(refresh, delay);
    fetching = true;
    wanted = false;
    const begun = Date.now();
    try {
      const response = await fetch(location.href, { headers: { "HX-Request": "true" }, credentials: "same-origin" });
      if (response.status === 401) return void location.reload();
      if (!response.ok) throw new Error(String(response.status));
      const text = await response.text();
      await htmx.swap({ text, target: region(), select: "[data-live-region]", swap: "outerMorph", sourceElement: region() });
      await htmx.swap({ text, target: "#banners", select: "#banners", swap: "outerMorph", sourceElement: document.body });
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
    if (region()) listen();
    refresh();
  });
  document.addEventListener("focusout", () => { if (wanted) setTimeout(refresh, 0); });
  setInterval(tick, 1000);
  if (region()) listen();
})();
