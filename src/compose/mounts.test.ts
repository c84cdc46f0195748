import { describe, expect, it } from 'vitest';
import { said, service } from './testing.ts';

describe('volumes', () => {
  it.each([
    ['v:/data', { type: 'volume', source: 'v', target: '/data', readOnly: false }],
    ['v:/data:ro', { type: 'volume', source: 'v', target: '/data', readOnly: true }],
    ['v:data', { type: 'volume', source: 'v', target: 'data', readOnly: false }],
    ['/data', { type: 'volume', source: null, target: '/data', readOnly: false }],
    ['./x:/data:rw,z', { type: 'bind', source: './x', target: '/data', readOnly: false }],
    ['~/x:/data', { type: 'bind', source: '~/x', target: '/data', readOnly: false }],
    ['/etc/x:/etc/x:ro,rslave', { type: 'bind', source: '/etc/x', target: '/etc/x', readOnly: true }],
    ['C:\\x:/data', { type: 'bind', source: 'C:\\x', target: '/data', readOnly: false }],
    ['C:\\x:D:\\y:ro', { type: 'bind', source: 'C:\\x', target: 'D:\\y', readOnly: true }],
    ['C:/x:/data', { type: 'bind', source: 'C:/x', target: '/data', readOnly: false }],
  ])('should read %s', (entry, expected) => {
    expect(service(`volumes: ['${entry}']`).volumes).toEqual([expected]);
  });

  it('should read the long form', () => {
    const lines = 'volumes: [{ type: volume, source: v, target: /d, read_only: yes }, { type: tmpfs, target: /t }]';
    expect(service(lines).volumes).toEqual([
      { type: 'volume', source: 'v', target: '/d', readOnly: true },
      { type: 'tmpfs', source: null, target: '/t', readOnly: false },
    ]);
  });

  it.each([
    ["'v:/a:ro:rw'", 'volume-invalid'],
    ["'v:'", 'volume-invalid'],
    ["':/a'", 'volume-invalid'],
    ['{ type: volume, source: v }', 'volume-invalid'],
    ['{ type: bind, target: /a }', 'volume-invalid'],
    ["'v:/a/../b'", 'target-invalid'],
    ['"v:/a\\0"', 'target-invalid'],
    ["'other:/a'", 'volume-undeclared'],
  ])('should refuse %s', (entry, rule) => {
    expect(said(`volumes: [${entry}]`)).toContain(`4:15 ERROR ${rule}`);
  });

  it('should pass over an access mode that is none, as other tools do, and say so', () => {
    expect(said("volumes: ['v:/a:b']")).toEqual(['4:15 WARNING volume-option']);
    expect(service("volumes: ['v:/a:b,ro']").volumes[0]).toMatchObject({ target: '/a', readOnly: true });
  });

  it('should let the later of two entries with one target count, as other tools do', () => {
    expect(service("volumes: ['v:/data', 'w:/data:ro']").volumes).toMatchObject([{ source: 'w', readOnly: true }]);
    expect(said("volumes: ['v:/data', 'w:/data']")).toEqual(['4:26 WARNING target-duplicate']);
  });

  it('should find two mounts with one target', () => {
    const rules = said("volumes: ['v:/data/', 'w:/data']\nconfigs: [{ source: c, target: //data }]");
    expect(rules.filter((line) => line.includes('target-duplicate'))).toEqual([
      '4:27 ERROR target-duplicate',
      '5:15 ERROR target-duplicate',
    ]);
  });
});

describe('configs and secrets', () => {
  it('should give targets and modes their defaults', () => {
    const { configs, secrets } = service('configs: [c]\nsecrets: [s]');
    expect(configs).toEqual([{ source: 'c', target: '/c', uid: null, gid: null, mode: 0o444 }]);
    expect(secrets).toEqual([{ source: 's', target: '/run/secrets/s', uid: null, gid: null, mode: 0o444 }]);
  });

  it('should lay the relative target of a secret under /run/secrets', () => {
    const { configs, secrets } = service(
      'configs: [{ source: c, target: a/b }]\nsecrets: [{ source: s, target: key }]',
    );
    expect(configs[0]?.target).toBe('a/b');
    expect(secrets[0]?.target).toBe('/run/secrets/key');
  });

  it.each([
    ['0440', 0o440],
    ['"0440"', 0o440],
    ['"440"', 0o440],
    ['0o400', 0o400],
    ['288', 0o440],
  ])('should read the mode %s', (mode, expected) => {
    expect(service(`configs: [{ source: c, mode: ${mode} }]`).configs[0]?.mode).toBe(expected);
  });

  it('should refuse a mode that is none, and a name that is not declared', () => {
    expect(said('configs: [{ source: c, mode: rw }]')).toEqual(['4:28 ERROR mode-invalid']);
    expect(said('secrets: [t]')).toContain('4:15 ERROR secret-undeclared');
  });
});
