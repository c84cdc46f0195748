import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { firstFileOf, packTar } from './tar.ts';

const list = (archive: Buffer) =>
  spawnSync('tar', ['-tvf', '-', '--numeric-owner'], { input: archive }).stdout.toString();
const contentOf = (archive: Buffer, name: string) =>
  spawnSync('tar', ['-xOf', '-', name], { input: archive }).stdout.toString();

describe('an archive', () => {
  it('should be read by tar', () => {
    const long = `${'folder/'.repeat(30)}ä.conf`;
    const archive = packTar([
      { name: 'etc', content: null, mode: 0o755 },
      { name: 'etc/app.conf', content: 'port=1\n', mode: 0o440, uid: 1000, gid: 50 },
      { name: long, content: 'x'.repeat(513), mode: 0o644 },
    ]);
    expect(list(archive)).toMatch(
      /^drwxr-xr-x 0\/0 +0 .* etc\/?\n-r--r----- 1000\/50 +7 .* etc\/app.conf\n-rw-r--r-- 0\/0 +513 /,
    );
    expect(contentOf(archive, long)).toBe('x'.repeat(513));
  });

  it.each([['conf'], ['folder/'.repeat(30)]])('should give back its first file, %s', (name) => {
    const archive = packTar([{ name: `${name}x`, content: 'content', mode: 0o644 }]);
    expect(firstFileOf(archive)?.toString()).toBe('content');
  });

  it.each([0, 1, 511, 512, 513])('should hold %d bytes as tar reads them, and give them back', (bytes) => {
    const text = 'x'.repeat(bytes);
    const archive = packTar([{ name: 'haproxy.cfg', content: text, mode: 0o644 }]);
    expect(list(archive)).toMatch(new RegExp(`^-rw-r--r-- .* ${bytes} .* haproxy.cfg\\n$`));
    expect(contentOf(archive, 'haproxy.cfg')).toBe(text);
    expect(firstFileOf(archive)?.toString()).toBe(text);
  });

  it('should give back what is longer in bytes than in characters', () => {
    const archive = packTar([{ name: 'haproxy.cfg', content: 'ä'.repeat(300), mode: 0o644 }]);
    expect(firstFileOf(archive)?.toString()).toBe('ä'.repeat(300));
  });

  it('should have no file where it begins with a folder', () => {
    expect(firstFileOf(packTar([{ name: 'etc', content: null, mode: 0o755 }]))).toBeNull();
  });
});
