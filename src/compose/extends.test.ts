import { describe, expect, it } from 'vitest';
import { check } from './testing.ts';

describe('extends', () => {
  it('should append ports, so that a base which is deployed itself may collide', () => {
    const text = 'services:\n  base: { image: x, ports: ["80:80"] }\n  web: { extends: base, ports: ["81:81"] }';
    expect(check(text).said).toEqual(['2:29 WARNING port-duplicate']);
  });

  it('should merge mappings, append lists, and replace commands', () => {
    const { model } = check(`
services:
  base:
    image: x
    command: [a, b]
    environment: [A=1, B=2]
    ports: ["80"]
    volumes: ["v:/data", "v:/other"]
    healthcheck: { test: [CMD, x], interval: 1s }
    depends_on: [db]
    labels: { one: "1" }
  web:
    extends: { service: base }
    command: c
    environment: { B: "3", C: "4" }
    ports: ["80", "81"]
    volumes: ["w:/data:ro"]
    healthcheck: { test: [CMD, y] }
    depends_on: { cache: { condition: service_started } }
    labels: ["two=2"]
  db: { image: x }
  cache: { image: x }
volumes: { v: , w: }
`);
    expect(model?.services.web).toMatchObject({
      image: 'x',
      command: ['c'],
      environment: { A: '1', B: '3', C: '4' },
      ports: [{ target: 80 }, { target: 81 }],
      volumes: [
        { source: 'v', target: '/other' },
        { source: 'w', target: '/data', readOnly: true },
      ],
      healthcheck: { argv: ['y'], intervalMs: 1000 },
      dependsOn: [{ service: 'cache' }, { service: 'db' }],
      other: { labels: { one: '1', two: '2' } },
    });
    expect(model?.services.web?.other).not.toHaveProperty('extends');
  });

  it('should follow chains', () => {
    const text = 'services:\n  a: { image: x, tty: true }\n  b: { extends: a, user: u }\n  c: { extends: b, image: y }';
    expect(check(text).model?.services.c).toMatchObject({ image: 'y', user: 'u', other: { tty: true } });
  });

  it.each([
    ['a: { image: x, extends: b }\n  b: { image: x, extends: a }', 'extends-cycle'],
    ['a: { image: x, extends: a }', 'extends-cycle'],
    ['a: { image: x, extends: aa }', 'extends-undefined'],
    ['a: { image: x, extends: { service: b, file: other.yaml } }', 'file-unavailable'],
  ])('should refuse %s', (services, rule) => {
    const rules = check(`services:\n  ${services}`).findings.map((finding) => finding.rule);
    expect(rules).toEqual([rule]);
  });

  it('should bound what chains add up to', () => {
    const services = Array.from({ length: 100 }, (_, index) => {
      const environment = Array.from({ length: 25 }, (_, entry) => `V${index}_${entry}: x`);
      return `  s${index}: { image: x, ${index > 0 ? `extends: s${index - 1}, ` : ''}environment: { ${environment} } }`;
    });
    const { findings } = check(`services:\n${services.join('\n')}`);
    expect(findings.map(({ rule }) => rule)).toEqual(['file-too-complex']);
  });

  it('should bound the length of what is extended', () => {
    const services = Array.from({ length: 50 }, (_, index) => `  s${index}: { extends: base }`);
    const base = `  base: { image: x, labels: { l: ${'x'.repeat(90_000)} } }`;
    const { findings } = check(`services:\n${base}\n${services.join('\n')}`);
    expect(findings.map(({ rule }) => rule)).toContain('file-too-complex');
  });

  it.each([
    [
      'env_file: a, tmpfs: /a',
      'env_file: [b], tmpfs: /b',
      { environment: { A: '1', B: '2' }, other: { tmpfs: ['/a', '/b'] } },
    ],
    ['networks: [m]', 'networks: { n: { aliases: [z] } }', { networks: ['m', 'n'] }],
    ['environment: { A: 1, B: 2 }', 'environment: [A, C=3]', { environment: { A: 'set', B: '2', C: '3' } }],
    ['deploy: { replicas: 3 }', 'deploy: ', { replicas: 3 }],
    ['command: a', 'command: ', { command: null }],
    ['x-a: { b: 1 }', 'x-a: { c: 2 }', { extensions: { 'x-a': { c: 2 } } }],
    ['ports: ["80:80"]', 'ports: ["80:80", "81:81"]', { ports: [{ target: 80 }, { target: 81 }] }],
    ['logging: { driver: a, options: { o: 1 } }', 'logging: { driver: b }', { other: { logging: { driver: 'b' } } }],
    [
      'logging: { options: { o: "1" } }',
      'logging: { driver: b }',
      { other: { logging: { driver: 'b', options: { o: '1' } } } },
    ],
  ])('should merge { %s } and { %s } as other tools do', (base, over, expected) => {
    const text = `services:\n  base: { image: x, ${base} }\n  web: { extends: base, ${over} }\nnetworks: { m: , n: }\nx-windflow: { files: { a: A=1, b: B=2 } }`;
    expect(check(text, { variables: { A: 'set' } }).model?.services.web).toMatchObject(expected);
  });
});
