import { describe, expect, it } from 'vitest';
import { parseImageReference } from './image-reference.ts';

const DIGEST = `sha256:${'0a'.repeat(32)}`;

describe('parseImageReference', () => {
  it.each([
    ['nginx', 'nginx', null, null],
    ['nginx:1.29-alpine', 'nginx', '1.29-alpine', null],
    ['library/my__app--x.y', 'library/my__app--x.y', null, null],
    ['registry.example:5000/team/app:V1', 'registry.example:5000/team/app', 'V1', null],
    ['localhost/app', 'localhost/app', null, null],
    ['GHCR.io/a/b', 'GHCR.io/a/b', null, null],
    ['[::1]:5000/app:1', '[::1]:5000/app', '1', null],
    [`app@${DIGEST}`, 'app', null, DIGEST],
    [`app:1@${DIGEST}`, 'app', '1', DIGEST],
  ])('should read %s', (text, name, tag, digest) => {
    expect(parseImageReference(text)).toEqual({ name, tag, digest });
  });

  it.each([
    '',
    'App',
    'app:',
    'app:a b',
    'app@sha256:00',
    'a//b',
    '/a',
    'a/',
    'https://a/b',
    '-a',
    'a..b',
    'a:1:2',
    `x:${'t'.repeat(129)}`,
    'a'.repeat(64),
    'a'.repeat(256),
    'a.'.repeat(5000),
  ])('should refuse %s', (text) => {
    expect(parseImageReference(text)).toBeNull();
  });
});
