import { describe, expect, it } from 'vitest';
import { inside, PreparationError } from './service-files.mjs';

describe('a path of a compose file', () => {
  it.each([
    ['conf', '/root/conf'],
    ['/etc/conf', '/root/etc/conf'],
    ['./a/../b', '/root/b'],
    ['/', '/root'],
    ['.', '/root'],
    ['dir/', '/root/dir'],
  ])('should lie inside the root: %s', (target, expected) => {
    expect(inside('/root', target, 'file')).toBe(expected);
  });

  it.each(['..', '../x', '/../x', 'a/../../x', '/../rootless'])('should not lead out of the root: %s', (target) => {
    expect(() => inside('/root', target, 'file')).toThrow(PreparationError);
  });
});
