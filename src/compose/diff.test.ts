import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { diffServices } from './diff.ts';

describe('diffServices', () => {
  it('should name each field that differs, in the order of paths', () => {
    const before = {
      image: 'a:1',
      ports: [{ target: 80 }, { target: 81 }],
      environment: { A: '1', B: '2' },
      user: null,
    };
    const after = { image: 'a:2', ports: [{ target: 8080 }], environment: { A: '1', C: '' }, scale: 2, 'x.y': true };
    expect(diffServices(before, after)).toEqual([
      { path: 'environment.B', before: '2', after: null },
      { path: 'environment.C', before: null, after: '' },
      { path: 'image', before: 'a:1', after: 'a:2' },
      { path: 'ports[0].target', before: '80', after: '8080' },
      { path: 'ports[1]', before: '{"target":81}', after: null },
      { path: 'scale', before: null, after: '2' },
      { path: '["x.y"]', before: null, after: 'true' },
    ]);
  });

  it('should find nothing between equal values, and the same fields in both directions', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        expect(diffServices(a, structuredClone(a))).toEqual([]);
        const turned = diffServices(b, a).map(({ path, before, after }) => ({ path, before: after, after: before }));
        expect(diffServices(a, b)).toEqual(turned);
      }),
    );
  });
});
