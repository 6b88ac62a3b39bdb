/** One image: what it is in a few figures, and its tabs. */

import {html, nothing} from 'lit-html';
import {awaited} from '../parts/trouble.js';
import {ago, called, counted, day, percent, pull, short, shown, size} from '../words.js';
import {out} from './labels.js';
import {badges} from './badges.js';
import {dockerfile} from './dockerfile.js';
import {findings} from './findings.js';
import {labels} from './labels.js';
import {layers} from './layers.js';
import {tags} from './tags.js';
import {waste} from './waste.js';

/** @type {[string, string, (app: import('../app.js').App, image: Image) => unknown][]} */
const TABS = [
  ['map', 'Layers', (app, image) => layers(app, image, true)],
  ['tree', 'Files', (app, image) => layers(app, image, false)],
  ['waste', 'Waste', waste],
  ['findings', 'Findings', findings],
  ['dockerfile', 'Dockerfile', dockerfile],
  ['labels', 'Labels', labels],
  ['tags', 'Tags', tags],
  ['badges', 'Badges', badges],
];

/** Tabs that only images of the store have. */
const STORED = new Set(['tags', 'badges']);

/** @param {import('../app.js').App} app */
export function image(app) {
  const {router, source} = app;
  const {ref} = router.route;
  const platform = router.get('platform');
  const answer = app.asked.get(`image ${ref} ${platform}`, () => source.image(ref, platform));
  // For a platform that was chosen the name stands for another image: what is asked from here on is asked of that one.
  return {title: `${shown(ref)} · veneer`, body: awaited(answer, (found) => page(app, platform ? {...found, ref: found.id} : found, ref))};
}

/** @param {import('../app.js').App} app @param {Image} found @param {string} name what it is called here */
function page(app, found, name) {
  const {router} = app;
  const offered = TABS.filter(([name]) => app.source.embedded ? !STORED.has(name) && name !== 'dockerfile' : found.where === 'store' || !STORED.has(name));
  const least = app.source.least(found.ref);
  const tab = router.choice('tab', offered.map(([name]) => name));
  offered.forEach(([name], n) => app.keys.set(String(n + 1), () => router.set({tab: n ? name : null})));
  const draw = /** @type {typeof TABS[number]} */ (offered.find(([name]) => name === tab))[2];
  return html`<div class="hero">
      <div class="row">
        <h1><bdi>${shown(name)}</bdi></h1>
        ${platforms(app, found)}
        <span class="grow"></span>
        ${app.source.embedded ? nothing : comparisons(app, found, name)}
      </div>
      <p class="dim under">${line(app, found, name)}</p>
      ${figures(found)}
      ${least ? html`<p class="dim small">Files that store less than ${size(least)} are not in this report one by one, only what they are together in their directories.</p>` : nothing}
    </div>
    ${found.doubts.length ? html`<ul class="trouble small">${found.doubts.map((doubt) => html`<li>${shown(doubt)}</li>`)}</ul>` : nothing}
    ${verdict(app, found)}
    <nav class="tabs" aria-label="Views of the image">${offered.map(([name, label], n) => html`<a
      href=${router.here({tab: n ? name : null})} aria-current=${name === tab ? 'page' : nothing} @click=${(/** @type {MouseEvent} */ event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        router.set({tab: n ? name : null});
      }}>${label}</a>`)}</nav>
    <div class="tab">${draw(app, found)}</div>`;
}

/** With what it can be compared. @param {import('../app.js').App} app @param {Image} found @param {string} ref what it is called here */
function comparisons({router}, found, ref) {
  const {platform} = called(ref);
  const name = platform ? ref.slice(0, -platform.length - 1) : ref;
  const own = found.platforms_here.length > 1 ? `${name}@${found.platform}` : ref;
  return html`${found.platforms_here.length > 1 ? html`<a class="button plain" href=${router.href('compare', '', {images: found.platforms_here.map((each) => `${name}@${each}`).join(',')})}>Compare its platforms</a>` : nothing}
    <a class="button plain" href=${router.href('compare', '', {images: own})}>Compare with …</a>`;
}

/** What the rules say of it. @param {import('../app.js').App} app @param {Image} found */
function verdict(app, found) {
  const number = app.source.order.indexOf(found.ref);
  return app.verdicts[number] ? html`<div class="card rules">${app.verdicts[number]}</div>` : nothing;
}

/** @param {import('../app.js').App} app @param {Image} found */
function platforms(app, found) {
  if (found.platforms.length < 2) return html`<span class="chip">${shown(found.platform)}</span>`;
  return html`<label><span class="sr">Platform</span><select class="chip" @change=${(/** @type {any} */ event) => app.router.set({platform: event.target.value})}>
    ${found.platforms.map((each) => {
      const here = each === found.platform || found.platforms_here.includes(each);
      return html`<option value=${each} ?selected=${each === found.platform} ?disabled=${!here}>${shown(each)}${here ? '' : ' (not here)'}</option>`;
    })}</select></label>`;
}

/** @param {import('../app.js').App} app @param {Image} found @param {string} name */
function line(app, found, name) {
  const others = found.tags.filter((tag) => tag !== name);
  const {base} = found;
  return html`<code title=${found.id}>${short(found.id)}</code>
    ${found.created ? html` · <span title=${found.created}>made ${day(found.created)}, ${ago(found.created)}</span>` : nothing}
    ${base ? html` · on ${base.here ? html`<a href=${app.router.href('image', base.here)}><bdi>${shown(base.ref)}</bdi></a>` : html`<bdi>${shown(base.ref)}</bdi>`},
      ${base.layers ? `its ${counted(base.layers, 'layer')}` : 'not here'} <span class="how">(known by ${shown(base.how)})</span>` : nothing}
    ${others.length ? html` · also ${others.slice(0, 6).map((tag) => html`<span class="tag"><bdi>${shown(tag)}</bdi></span> `)}` : nothing}
    ${provenance(app, found)}`;
}

/** Where its source is, and under which licence it comes, if labels tell. @param {import('../app.js').App} app @param {Image} found */
function provenance(app, found) {
  const links = app.asked.get(`labels ${found.ref}`, () => app.source.labels(found.ref)).value?.links;
  if (!links) return nothing;
  const {source, commit, commit_url: to, licences} = links;
  const address = to || source;
  return html`${address ? html` · from ${out(address, source.replace(/^https?:\/\/(www\.)?|(\.git)?\/*$/g, '') + (to ? ` @ ${commit.slice(0, 7)}` : ''))}` : nothing}
    ${licences.length ? html` · ${licences.slice(0, 3).map((each, n) => html`${n ? ', ' : ''}${out(each.url, each.id)}`)}` : nothing}`;
}

/** @param {Image} found */
function figures(found) {
  const told = [
    [size(found.visible), 'visible'],
    [size(found.stored), 'stored'],
    [pull(found), 'to pull'],
    [String(found.layers.length), found.layers.length === 1 ? 'layer' : 'layers'],
    [percent(found.efficiency, 1), 'efficiency'],
    [size(found.wasted), 'wasted'],
  ];
  return html`<dl class="figures">${told.map(([value, name], n) => html`<div class=${n === 5 && found.wasted > 0 ? 'warn' : ''}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}
