import { describe, expect, it } from 'vitest';
import { check } from './testing.ts';

describe('profiles', () => {
  const text =
    'services:\n  a: { image: x }\n  b: { image: x, profiles: [ops, dev] }\n  c: { image: x, profiles: [dev] }';
  const names = (options: object) => Object.keys(check(text, options).model?.services ?? {});

  it('should leave out services whose profiles are not active, and say so', () => {
    expect(names({})).toEqual(['a']);
    expect(check(text).said).toEqual(['3:18 INFO profile-inactive', '4:18 INFO profile-inactive']);
  });

  it('should name only some profiles of many', () => {
    const profiles = Array.from({ length: 1000 }, (_, index) => `p${index}`);
    const [finding] = check(`services: { a: { image: x, profiles: [${profiles}] } }`).findings;
    expect(finding?.message).toContain('the profile "p0", "p1", "p2", "p3", "p4" … is not active');
  });

  it('should take active profiles from the options and from COMPOSE_PROFILES', () => {
    expect(names({ profiles: ['ops'] })).toEqual(['a', 'b']);
    expect(names({ variables: { COMPOSE_PROFILES: 'x, dev' } })).toEqual(['a', 'b', 'c']);
    expect(names({ profiles: ['*'] })).toEqual(['a', 'b', 'c']);
  });

  it('should refuse to wait for a service that is left out, unless it is not required', () => {
    const waits = (more: string) =>
      `services:\n  a: { image: x, depends_on: { b: { condition: service_started${more} } } }\n  b: { image: x, profiles: [p] }`;
    expect(check(waits('')).said).toContain('2:32 ERROR dependency-inactive');
    expect(check(waits(', required: false')).model).not.toBeNull();
  });
});

describe('names', () => {
  it.each(['..', '.a', '-a', '_a', 'a'.repeat(64)])('should refuse the service name %s', (name) => {
    expect(check(`services:\n  ${name}: { image: x }`).said).toEqual(['2:3 ERROR name-invalid']);
  });

  it('should refuse volume names that lead out of their folder, and characters that no name has', () => {
    expect(check('services: { a: { image: x } }\nvolumes: { "..": }').said).toContain('2:12 ERROR name-invalid');
    expect(check('services: { "a b": { image: x } }').said).toEqual(['1:13 ERROR name-invalid']);
  });

  it('should take out of a project name what does not fit, as other tools do', () => {
    const { model, said } = check('name: _My Shop\nservices: { a: { image: x } }');
    expect(said).toEqual(['1:1 WARNING name-changed']);
    expect(model?.name).toBe('myshop');
  });
});

describe('sources of configs and secrets', () => {
  const stack = (source: string) => `services: { a: { image: x, secrets: [s] } }\nsecrets: { s: { ${source} } }`;

  it('should take the content from a variable', () => {
    const { model } = check(stack('environment: KEY'), { variables: { KEY: 'k' } });
    expect(model?.secrets.s).toEqual({ content: 'k', environment: 'KEY', file: null, external: false });
  });

  it('should not know the content while variables are not known', () => {
    expect(check(stack('environment: KEY')).model?.secrets.s?.content).toBeNull();
  });

  it('should refuse a variable that is not set, where the secret is used', () => {
    expect(check(stack('environment: KEY'), { variables: {} }).said).toEqual(['2:17 ERROR variable-missing']);
    const unused = 'services: { a: { image: x } }\nsecrets: { s: { environment: KEY } }';
    expect(check(unused, { variables: {} }).said).toEqual(['2:12 INFO unused']);
  });

  it.each([
    ['content: x', 'WARNING secret-inline'],
    ['file: ./x', 'ERROR file-missing'],
    ['file: ./x, environment: X', 'ERROR source-invalid'],
    ['name: x', 'ERROR source-invalid'],
  ])('should say of %s: %s', (source, expected) => {
    expect(check(stack(source)).said.map((line) => line.slice(line.indexOf(' ') + 1))).toContain(expected);
  });
});

describe('a stack', () => {
  it('should need services, and a bounded number of them', () => {
    expect(check('services: {}').said).toEqual(['1:1 ERROR no-services']);
    expect(check('volumes: {}').said).toEqual(['1:1 ERROR no-services']);
    const many = Array.from({ length: 501 }, (_, index) => `s${index}: { image: x }`);
    expect(check(`services: { ${many} }`).said).toEqual(['1:1 ERROR too-many-entries']);
  });

  it('should keep its extensions and describe its volumes and networks', () => {
    const text =
      'x-a: { b: 1 }\nservices: { a: { image: x, volumes: ["v:/v"], networks: [n] } }\nvolumes: { v: { driver: nfs, labels: { a: b } } }\nnetworks: { n: { internal: "true" } }';
    expect(check(text).model).toMatchObject({
      extensions: { 'x-a': { b: 1 } },
      volumes: { v: { external: false, driver: 'nfs', other: { labels: { a: 'b' } } } },
      networks: { n: { external: false, internal: true, driver: null, other: {} } },
    });
  });
});
