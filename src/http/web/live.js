// Progress without a reload. An element with data-live="/admin/v1/runs/42/events" is told of each event: data-live-text says how far it is,
// its progress bar shows it, and data-live-log gets each line that is said; anywhere on the page data-live-figure="chunks" shows a number
// of it, and data-live-seconds="12" for how long it goes on. When it is over the page is loaded again. Everything else works
// without this file.
"use strict";

function bytes(n) {
    const units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let unit = 0;
    while (n >= 1000 && unit + 1 < units.length) {
        n /= 1000;
        unit += 1;
    }
    return `${unit ? n.toFixed(1) : n} ${units[unit]}`;
}

function words(progress) {
    const amount = progress.in_bytes ? bytes : (n) => n.toLocaleString("en");
    const far = progress.total ? `${amount(progress.done)} of ${amount(progress.total)}` : progress.done ? amount(progress.done) : "";
    const task = progress.task || (progress.entries ? `${progress.entries.toLocaleString("en")} files and folders` : "");
    return [task, far].filter(Boolean).join(": ");
}

function took(seconds) {
    const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
    return h ? `${h} h ${m} min` : m ? `${m} min ${s} s` : `${s} s`;
}

function figures(progress) {
    for (const place of document.querySelectorAll("[data-live-figure]")) {
        const n = progress[place.dataset.liveFigure];
        place.textContent = "liveBytes" in place.dataset ? bytes(n) : n.toLocaleString("en");
    }
}

for (const place of document.querySelectorAll("[data-live-seconds]")) {
    // The clock of this machine may be another: only what goes by here is added.
    const [before, loaded] = [Number(place.dataset.liveSeconds), Date.now()];
    setInterval(() => {
        place.textContent = took(before + (Date.now() - loaded) / 1000);
    }, 1000);
}

for (const place of document.querySelectorAll("[data-live]")) {
    const text = place.querySelector("[data-live-text]");
    const log = place.querySelector("[data-live-log]");
    const bar = place.querySelector("progress");
    const source = new EventSource(place.dataset.live);
    source.addEventListener("progress", (event) => {
        const progress = JSON.parse(event.data);
        if (text) text.textContent = words(progress);
        figures(progress);
        if (bar && progress.total) bar.value = (100 * progress.done) / progress.total;
        else if (bar) bar.removeAttribute("value");
    });
    source.addEventListener("line", (event) => {
        if (!log) return;
        const line = document.createElement("li");
        const said = JSON.parse(event.data);
        line.textContent = said.subject ? `${said.subject}: ${said.text}` : said.text;
        log.append(line);
    });
    source.addEventListener("end", () => {
        source.close();
        location.reload();
    });
}
