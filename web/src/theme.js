/** Light, dark, or as the system has it; remembered by the browser where it lets us. */

const KEY = 'veneer-theme';
const THEMES = ['auto', 'light', 'dark'];
let chosen = read();

function read() {
  try {
    const kept = localStorage.getItem(KEY) ?? '';
    return THEMES.includes(kept) ? kept : 'auto';
  } catch {
    return 'auto'; // a page from a file, or a browser that keeps nothing
  }
}

export function current() {
  return chosen;
}

export function apply() {
  if (chosen === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}

export function next() {
  chosen = THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length];
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // it lasts as long as the page then
  }
  apply();
  return chosen;
}
