/** One image's layers one below the other, as high as they are heavy. Pure. */

/** Heights in pixels: all layers together would take `room`, but none has less than its words need; those that would
 * are not to scale.
 * @param {number[]} bytes @param {number} room @param {number} least @returns {{height: number, scaled: boolean}[]} */
export function pile(bytes, room, least = 30) {
  const total = bytes.reduce((sum, each) => sum + each, 0);
  return bytes.map((each) => {
    const exact = total ? (room * each) / total : 0;
    return {height: Math.max(least, exact), scaled: exact >= least};
  });
}
