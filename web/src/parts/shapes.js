/** Shapes drawn: below 3,000 as SVG, where each can have the focus; above, on a canvas. */

import {html, nothing, svg} from 'lit-html';
import {repeat} from 'lit-html/directives/repeat.js';
import {hit} from '../layout/map.js';
import {shown, size} from '../words.js';

const MOST = 3000;
const LETTER = 6.7; // pixels that a letter takes, more or less

/** @typedef {import('../layout/map.js').Spot} Spot */
/** @typedef {import('../layout/map.js').Shape} Shape */
/** @typedef {import('../layout/map.js').Drawing} Drawing */
/**
 * @typedef {object} Manners
 * @property {(spot: Spot) => string} classed
 * @property {(spot: Spot) => string} label
 * @property {boolean} hidden whether hidden bytes are part of the areas
 * @property {number} current the shape that has, or would get, the focus
 * @property {(n: number) => void} focus
 * @property {(n: number, way: 'in' | 'out' | 'next' | 'before') => number} move
 * @property {(spot: Spot) => void} enter
 * @property {() => void} up
 */

/** @param {import('../app.js').App} app @param {Drawing} drawing @param {Manners} manners */
export function draw(app, drawing, manners) {
  return drawing.shapes.length > MOST ? onCanvas(app, drawing, manners) : asSvg(drawing, manners);
}

/** @param {Drawing} drawing @param {Manners} manners @param {(n: number) => void} go */
function keyed(drawing, manners, go) {
  /** @type {Record<string, 'in' | 'out' | 'next' | 'before'>} */
  const ways = drawing.kind === 'icicle' || drawing.kind === 'treemap'
    ? {ArrowDown: 'in', ArrowUp: 'out', ArrowRight: 'next', ArrowLeft: 'before'}
    : {ArrowDown: 'out', ArrowUp: 'in', ArrowRight: 'next', ArrowLeft: 'before'};
  return (/** @type {KeyboardEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const way = ways[event.key];
    const {spot} = drawing.shapes[manners.current];
    if (way) go(manners.move(manners.current, way));
    else if (event.key === 'Enter' || event.key === ' ') manners.enter(spot);
    else if (event.key === 'Backspace') manners.up();
    else if (event.key === 'h' && spot.type !== 'other') manners.enter({...spot, children: []});
    else return;
    event.preventDefault();
  };
}

/** @param {Drawing} drawing @param {Manners} manners */
function asSvg(drawing, manners) {
  const go = (/** @type {number} */ n) => {
    manners.focus(n);
    requestAnimationFrame(() => /** @type {SVGElement | null} */ (document.querySelector('.map [tabindex="0"]'))?.focus());
  };
  const {width, height, kind} = drawing;
  return html`<svg class=${`map ${kind}`} viewBox=${`0 0 ${width} ${height}`} width=${width} height=${height} role="tree" aria-label="Map of the bytes"
      @keydown=${keyed(drawing, manners, go)}>
    <defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="2.2" height="6" class="ink"></rect></pattern></defs>
    ${repeat(drawing.shapes, (shape) => `${shape.spot.path} ${shape.spot.type}`, (shape, n) => svg`<g role="treeitem" aria-level=${shape.depth + 1}
      aria-label=${manners.label(shape.spot)} aria-selected=${n === manners.current ? 'true' : 'false'} tabindex=${n === manners.current ? 0 : -1}
      class=${`shape ${manners.classed(shape.spot)}${shape.spot.children.length ? ' dir' : ''}`}
      @click=${() => manners.enter(shape.spot)} @pointerenter=${() => manners.focus(n)} @focus=${() => n !== manners.current && manners.focus(n)}>
      ${kind === 'sunburst' ? arc(drawing, shape, manners) : box(shape, manners)}</g>`)}
  </svg>`;
}

/** @param {Shape} shape @param {Manners} manners */
function box({spot, x0, y0, x1, y1, head}, manners) {
  const [width, height] = [Math.max(0, x1 - x0), Math.max(0, y1 - y0)];
  const share = !manners.hidden || !spot.value ? 0 : spot.op === 'D' ? 1 : spot.waste / spot.value;
  const room = Math.floor((width - 12) / LETTER);
  const high = head || height;
  const name = spot.type === 'other' ? `+${spot.folded}` : shown(spot.name || '/');
  const words = high >= 15 && room >= 2;
  return svg`<rect x=${x0} y=${y0} width=${width} height=${height} rx="2"></rect>
    ${share > 0.01 && !(spot.children.length && head) ? svg`<rect class="hatched" x=${x1 - width * share} y=${y0} width=${width * share} height=${height} rx="2"></rect>` : nothing}
    ${words ? svg`<svg x=${x0} y=${y0} width=${Math.max(0, width - 4)} height=${high}>
      <text class="name" x="7" y=${high >= 38 ? 18 : high / 2 + 4.5}>${cut(name, room)}${high < 38 && room > name.length + 9 ? svg`<tspan class="amount" dx="8">${size(spot.value)}</tspan>` : nothing}</text>
      ${high >= 38 && room >= 5 ? svg`<text class="amount" x="7" y="35">${cut(size(spot.value), room)}</text>` : nothing}</svg>` : nothing}`;
}

/** @param {string} text @param {number} room */
function cut(text, room) {
  const letters = [...text];
  return letters.length <= room ? text : `${letters.slice(0, Math.max(1, room - 1)).join('')}…`;
}

/** @param {Drawing} drawing @param {Shape} shape @param {Manners} manners */
function arc({width}, {spot, x0, y0, x1, y1, depth}, manners) {
  const middle = width / 2;
  const share = !manners.hidden || !spot.value ? 0 : spot.op === 'D' ? 1 : spot.waste / spot.value;
  const name = spot.type === 'other' ? `+${spot.folded}` : shown(spot.name || '/');
  const turn = (x0 + x1) / 2;
  const radius = depth ? (y0 + y1) / 2 : 0;
  const room = Math.floor((depth ? y1 - y0 - 8 : 2 * y1 - 16) / LETTER);
  const wide = depth === 0 || (x1 - x0) * radius > 13;
  const angle = (turn * 180) / Math.PI - 90;
  const over = turn > Math.PI;
  return svg`<path d=${ring(middle, x0, y0, x1, y1)}></path>
    ${share > 0.01 ? svg`<path class="hatched" d=${ring(middle, x1 - (x1 - x0) * share, y0, x1, y1)}></path>` : nothing}
    ${wide && room >= 3 ? svg`<text class="name" text-anchor="middle" dy="4" transform=${depth ? `translate(${middle} ${middle}) rotate(${angle}) translate(${radius} 0) rotate(${over ? 180 : 0})`
      : `translate(${middle} ${middle})`}>${cut(name, room)}</text>` : nothing}`;
}

/** A piece of a ring as a path. @param {number} middle @param {number} from radians from the top, clockwise @param {number} inner @param {number} to @param {number} outer */
export function ring(middle, from, inner, to, outer) {
  const point = (/** @type {number} */ angle, /** @type {number} */ radius) =>
    `${(middle + radius * Math.sin(angle)).toFixed(2)} ${(middle - radius * Math.cos(angle)).toFixed(2)}`;
  if (to - from > 2 * Math.PI - 1e-6) {
    const half = from + Math.PI;
    const circle = (/** @type {number} */ radius, /** @type {number} */ sweep) =>
      `M${point(from, radius)}A${radius} ${radius} 0 1 ${sweep} ${point(half, radius)}A${radius} ${radius} 0 1 ${sweep} ${point(from, radius)}Z`;
    return circle(outer, 1) + (inner > 0 ? circle(inner, 0) : '');
  }
  const large = to - from > Math.PI ? 1 : 0;
  const back = inner > 0 ? `L${point(to, inner)}A${inner} ${inner} 0 ${large} 0 ${point(from, inner)}` : `L${middle} ${middle}`;
  return `M${point(from, outer)}A${outer} ${outer} 0 ${large} 1 ${point(to, outer)}${back}Z`;
}

/** @param {import('../app.js').App} app @param {Drawing} drawing @param {Manners} manners */
function onCanvas(app, drawing, manners) {
  const {width, height} = drawing;
  const at = (/** @type {MouseEvent} */ event) => {
    const box = /** @type {HTMLElement} */ (event.currentTarget).getBoundingClientRect();
    return hit(drawing, event.clientX - box.left, event.clientY - box.top);
  };
  const go = (/** @type {number} */ n) => {
    manners.focus(n);
    app.say(manners.label(drawing.shapes[n].spot));
  };
  app.after.push(() => paint(drawing, manners));
  return html`<div class="canvas" role="application" aria-label="Map of the bytes; the table below has the same" tabindex="0" @keydown=${keyed(drawing, manners, go)}
      @click=${(/** @type {MouseEvent} */ event) => at(event) >= 0 && manners.enter(drawing.shapes[at(event)].spot)}
      @pointermove=${(/** @type {MouseEvent} */ event) => at(event) >= 0 && at(event) !== manners.current && manners.focus(at(event))}>
    <canvas id="map-canvas" .style=${`width:${width}px;height:${height}px`}></canvas></div>`;
}

/** @param {Drawing} drawing @param {Manners} manners */
function paint(drawing, manners) {
  const canvas = document.getElementById('map-canvas');
  const pen = canvas instanceof HTMLCanvasElement ? canvas.getContext('2d') : null;
  if (!(canvas instanceof HTMLCanvasElement) || !pen) return;
  const fine = devicePixelRatio || 1;
  canvas.width = drawing.width * fine;
  canvas.height = drawing.height * fine;
  pen.scale(fine, fine);
  /** @type {Map<string, string>} colours as the style sheet has them */
  const colours = new Map();
  const probe = document.createElement('span');
  canvas.parentElement?.append(probe);
  const ink = getComputedStyle(canvas).color;
  const line = getComputedStyle(canvas).borderTopColor;
  for (const [n, shape] of drawing.shapes.entries()) {
    const kind = manners.classed(shape.spot);
    if (!colours.has(kind)) {
      probe.className = `swatch ${kind}`;
      colours.set(kind, getComputedStyle(probe).backgroundColor);
    }
    const path = new Path2D(drawing.kind === 'sunburst' ? ring(drawing.width / 2, shape.x0, shape.y0, shape.x1, shape.y1)
      : `M${shape.x0} ${shape.y0}H${shape.x1}V${shape.y1}H${shape.x0}Z`);
    pen.fillStyle = colours.get(kind) ?? ink;
    pen.fill(path);
    pen.strokeStyle = n === manners.current ? ink : line;
    pen.lineWidth = n === manners.current ? 2 : 0.5;
    pen.stroke(path);
    const room = Math.floor((shape.x1 - shape.x0 - 8) / LETTER);
    if (drawing.kind !== 'sunburst' && room >= 3) {
      pen.fillStyle = ink;
      pen.fillText(cut(shape.spot.type === 'other' ? `+${shape.spot.folded}` : shown(shape.spot.name || '/'), room), shape.x0 + 5, shape.y0 + 15);
    }
  }
  probe.remove();
}
