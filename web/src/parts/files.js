/** The files as an ARIA treegrid: one directory at a time, sorted and left out by state, driven by the keyboard. */

import {html, nothing} from 'lit-html';
import {repeat} from 'lit-html/directives/repeat.js';
import {counted, letters, listed, shown, size, STATES} from '../words.js';
import {choices, crumbs} from './map.js';

const SORTS = ['size', 'name', 'waste', 'layer'];
const OPS = /** @type {Op[]} */ (['A', 'M', 'P', 'D', 'O', 'U']);
const PAGE = 200; // rows at first; every further page has more
const MORE = 1000;
const DEEPEST = 100; // directories open in one another; what is deeper becomes the top of the table

/** @typedef {{key: string, level: number, entry?: Entry, open?: boolean, more?: () => void, text?: string, up?: string, place?: number, of?: number}} Row */
/** @typedef {{open: Set<string>, asked: string, pages: Map<string, string[]>, current: string, place: number, grab: boolean}} State */

/** @param {import('../app.js').App} app @param {Image} image @param {import('./slider.js').Span} range */
export function files(app, image, range) {
  const {router} = app;
  const sort = router.choice('sort', SORTS);
  const show = router.get('show').toUpperCase() || 'AMPDOU';
  const path = router.get('path') || '/';
  const q = router.get('q');
  const state = app.memory(`files ${image.ref}`, () => /** @type {State} */ ({open: new Set(), asked: '', pages: new Map(), current: '', place: 0, grab: false}));
  const ask = {at: range.at, since: range.since, sort, show: show === 'AMPDOU' ? null : show, hidden: show.includes('D') ? 1 : null, q};
  const toggle = (/** @type {Op} */ op) => {
    const next = OPS.filter((each) => (each === op ? !show.includes(op) : show.includes(each))).join('');
    router.set({show: next === 'AMPDOU' || next === '' ? null : next});
  };
  for (const op of OPS.slice(0, 5)) app.keys.set(op, () => toggle(op));
  app.keys.set('s', () => router.set({sort: SORTS[(SORTS.indexOf(sort) + 1) % SORTS.length]}));
  const rows = flattened(app, image, state, ask, path);
  if (!rows.some((row) => row.key === state.current)) { // it waited for rows that have come since, in its place
    state.current = rows[Math.min(state.place, rows.length - 1)]?.key ?? '';
    state.grab ||= Boolean(document.activeElement?.closest('#files'));
  }
  state.place = rows.findIndex((row) => row.key === state.current);
  app.after.push(() => {
    if (state.grab) document.getElementById('files')?.querySelector('[tabindex="0"]')?.scrollIntoView?.({block: 'nearest'});
    if (state.grab) /** @type {HTMLElement | null} */ (document.querySelector('#files [tabindex="0"]'))?.focus();
    state.grab = false;
  });
  return html`<div class="row wrapping">
      <h2 id="files-title">Files</h2>
      <label class="search small"><span class="sr">Names in this directory</span><input type="search" placeholder="Filter names" .value=${q}
        @input=${(/** @type {any} */ event) => router.set({q: event.target.value})}></label>
      <span class="grow"></span>
      <fieldset class="ops"><legend class="sr">States shown</legend>${OPS.map((op) => html`<label title=${`${STATES.get(op)}${op === 'U' ? '' : ` (${op})`}`}>
        <input type="checkbox" .checked=${show.includes(op)} @change=${() => toggle(op)}><span class=${`op ${op}`}>${op === 'U' ? '·' : op}<span class="sr"> ${STATES.get(op)}</span></span></label>`)}</fieldset>
      ${choices(app, 'sort', SORTS, sort, 'Sort by', {word: 'sort'})}
    </div>
    ${app.router.get('tab') === 'tree' ? crumbs(app, path) : nothing}
    <div class="scroll tall" tabindex="-1">
    <table id="files" class="files" role="treegrid" aria-labelledby="files-title" @keydown=${(/** @type {KeyboardEvent} */ event) => key(app, state, rows, event, path)}>
      <thead><tr role="row"><th role="columnheader" scope="col">Name</th><th role="columnheader" scope="col">State</th><th role="columnheader" scope="col" class="n" aria-sort=${sort === 'size' ? 'descending' : nothing}>Size</th>
        <th role="columnheader" scope="col" class="n" aria-sort=${sort === 'waste' ? 'descending' : nothing}>Hidden</th>
        <th role="columnheader" scope="col">Layers</th><th role="columnheader" scope="col" class="minor">Mode</th><th role="columnheader" scope="col" class="minor">Owner</th></tr></thead>
      <tbody>${repeat(rows, (row) => row.key, (row) => line(app, state, row))}</tbody>
    </table></div>`;
}

/** The rows that are to be seen. @param {import('../app.js').App} app @param {Image} image @param {State} state @param {Query} ask @param {string} top @returns {Row[]} */
function flattened(app, image, state, ask, top) {
  /** @type {Row[]} */
  const rows = [];
  if (state.asked !== JSON.stringify(ask)) state.pages.clear(); // pages of another order
  state.asked = JSON.stringify(ask);
  const below = (/** @type {string} */ path, /** @type {number} */ level, /** @type {string} */ up) => {
    const pages = state.pages.get(path) ?? [''];
    const parts = pages.map((after, n) => {
      const query = {...ask, path, after, limit: n ? MORE : PAGE, q: level === 1 ? ask.q : null};
      return app.asked.latest(`files ${image.ref} ${path} ${n}`, `files ${image.ref} ${JSON.stringify(query)}`, () => app.source.tree(image.ref, query));
    });
    const [answer] = parts;
    if (answer.error) rows.push({key: `! ${path}`, level, text: answer.error.message, up});
    else if (!answer.value) rows.push({key: `… ${path}`, level, text: 'Looking…', up});
    else {
      const {total} = answer.value;
      const entries = parts.flatMap((part) => part.value?.entries ?? []);
      const last = parts[parts.length - 1];
      const next = last.value?.next;
      if (!entries.length) rows.push({key: `0 ${path}`, level, text: ask.q ? 'No name here has that.' : 'Nothing here.', up});
      entries.forEach((entry, n) => {
        const open = isOpenable(entry, level) && state.open.has(entry.path);
        rows.push({key: entry.path, level, entry, open, up, place: n + 1, of: total});
        if (open) below(entry.path, level + 1, entry.path);
      });
      if (!last.value) rows.push({key: `… ${path}`, level, text: last.error ? last.error.message : 'Looking…', up});
      if (next) {
        rows.push({key: `+ ${path}`, level, up, text: `${counted(total - entries.length, 'more', 'more')} …`, more: () => {
          state.pages.set(path, [...pages, next]);
          app.redraw();
        }});
      }
    }
  };
  below(top, 1, '');
  return rows;
}

/** Whether it opens in its place. @param {Entry} entry @param {number} level */
function isOpenable(entry, level) {
  return entry.type === 'directory' && level < DEEPEST;
}

/** @param {import('../app.js').App} app @param {State} state @param {Row} row */
function line(app, state, row) {
  const {entry, level} = row;
  const has = row.key === state.current;
  const indent = `--level:${Math.min(level, 24) - 1}`;
  const take = () => {
    state.current = row.key;
    app.redraw();
  };
  if (!entry) {
    return html`<tr role="row" aria-level=${level} tabindex=${has ? 0 : -1} class="note" @focus=${() => !has && take()} @click=${() => row.more?.()}>
      <td role="gridcell" colspan="7" .style=${indent}><span class="name">${row.more ? html`<span class="link">${shown(row.text)}</span>` : shown(row.text)}</span></td></tr>`;
  }
  const inner = isOpenable(entry, level);
  return html`<tr role="row" aria-level=${level} aria-expanded=${inner ? String(Boolean(row.open)) : nothing} aria-posinset=${row.place} aria-setsize=${row.of}
      tabindex=${has ? 0 : -1} class=${entry.there ? '' : 'gone'} @focus=${() => !has && take()} @click=${() => act(app, state, row, true)}>
    <td role="gridcell" .style=${indent}><span class="name"><span class="twist" aria-hidden="true">${inner ? (row.open ? '▾' : '▸') : entry.type === 'directory' ? '↳' : ''}</span><bdi>${shown(entry.name) || '(no name)'}</bdi>${entry.type === 'directory' ? '/' : nothing}
      ${entry.link && entry.type === 'symlink' ? html`<span class="dim"> → <bdi>${shown(entry.link)}</bdi></span>` : nothing}</span></td>
    <td role="gridcell"><span class=${`op ${entry.op}`} title=${STATES.get(entry.op) ?? ''}>${entry.op === 'U' ? '·' : entry.op}</span>${entry.changed.length ? html` <span class="dim small">${entry.changed.map(shown).join(', ')}</span>` : nothing}</td>
    <td role="gridcell" class="n">${size(entry.size)}</td><td role="gridcell" class="n">${entry.waste ? size(entry.waste) : ''}</td>
    <td role="gridcell">${listed(entry.layers)}</td><td role="gridcell" class="minor"><code title=${letters(entry.mode)}>${entry.mode}</code></td><td role="gridcell" class="minor">${entry.uid}:${entry.gid}</td></tr>`;
}

/** Open, close, or show the history. @param {import('../app.js').App} app @param {State} state @param {Row} row @param {boolean} grab */
function act(app, state, row, grab) {
  state.current = row.key;
  state.grab = grab;
  if (row.more) row.more();
  else if (row.entry && isOpenable(row.entry, row.level)) {
    if (!state.open.delete(row.key)) state.open.add(row.key);
    app.redraw();
  } else if (row.entry?.type === 'directory') app.router.set({path: row.key});
  else if (row.entry && row.entry.type !== 'folded') app.router.set({file: row.entry.path});
  else app.redraw();
}

/** @param {import('../app.js').App} app @param {State} state @param {Row[]} rows @param {KeyboardEvent} event @param {string} top */
function key(app, state, rows, event, top) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const at = rows.findIndex((row) => row.key === state.current);
  const row = rows[at];
  if (!row) return;
  const go = (/** @type {number} */ to) => {
    state.current = rows[Math.max(0, Math.min(rows.length - 1, to))].key;
  };
  const inner = row.entry?.type === 'directory' && isOpenable(row.entry, row.level);
  switch (event.key) {
    case 'ArrowDown': go(at + 1); break;
    case 'ArrowUp': go(at - 1); break;
    case 'PageDown': go(at + 15); break;
    case 'PageUp': go(at - 15); break;
    case 'Home': go(0); break;
    case 'End': go(rows.length - 1); break;
    case 'ArrowRight':
      if (inner && !row.open) state.open.add(row.key);
      else if (inner && row.open) go(at + 1);
      else if (row.entry?.type === 'directory') app.router.set({path: row.key});
      break;
    case 'ArrowLeft':
      if (row.open) state.open.delete(row.key);
      else if (row.up) state.current = row.up;
      break;
    case 'h':
      if (row.entry && row.entry.type !== 'folded') app.router.set({file: row.entry.path});
      break;
    case 'Backspace': {
      const above = top.replace(/\/[^/]*\/?$/, '');
      app.router.set({path: above && above !== '/' ? above : null});
      break;
    }
    case 'Enter': case ' ': act(app, state, row, true); break;
    default: return;
  }
  event.preventDefault();
  state.grab = true;
  app.redraw();
}
