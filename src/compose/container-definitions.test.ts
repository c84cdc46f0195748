import { describe, expect, it } from 'vitest';
import { check } from './testing.ts';

const read = (service: string, rest: string, variables = {}) =>
  check(`services: { a: { image: "x:1", ${service} } }\n${rest}`, { runtime: 'DOCKER', variables }).model;
const NETWORK = {
  name: null,
  external: false,
  internal: false,
  attachable: false,
  driver: null,
  driverOpts: {},
  enableIpv6: false,
  ipam: { driver: null, options: {}, pools: [] },
  labels: {},
};

describe('networks and volumes of a stack', () => {
  it.each<[string, string, object]>([
    ['tty: true', '', { default: NETWORK }],
    ['networks: [n]', 'networks: { n: , unused: }', { n: NETWORK }],
    [
      'networks: [n, default]',
      'networks: { n: , default: { internal: true } }',
      { n: NETWORK, default: { ...NETWORK, internal: true } },
    ],
    ['network_mode: none', '', {}],
    ['networks: [n]', 'networks: { n: { name: "${NAME}" } }', { n: { ...NETWORK, name: 'shop' } }],
    ['networks: [n]', 'networks: { n: { external: true } }', { n: { ...NETWORK, name: 'n', external: true } }],
    ['networks: [n]', 'networks: { n: { external: { name: x } } }', { n: { ...NETWORK, name: 'x', external: true } }],
    [
      'networks: [n]',
      'networks: { n: { driver: overlay, driver_opts: { mtu: 1400 }, attachable: "yes", enable_ipv6: true, labels: [a=b], ipam: { driver: default, options: { o: p }, config: [{ subnet: 10.0.0.0/8, ip_range: 10.1.0.0/16, gateway: 10.0.0.1 }] } } }',
      {
        n: {
          ...NETWORK,
          driver: 'overlay',
          driverOpts: { mtu: '1400' },
          attachable: true,
          enableIpv6: true,
          labels: { a: 'b' },
          ipam: {
            driver: 'default',
            options: { o: 'p' },
            pools: [{ subnet: '10.0.0.0/8', ipRange: '10.1.0.0/16', gateway: '10.0.0.1' }],
          },
        },
      },
    ],
  ])('should be networks of { %s } %s', (service, rest, expected) => {
    expect(read(service, rest, { NAME: 'shop' })?.networkDefinitions).toEqual(expected);
  });

  it.each<[string, object]>([
    ['volumes: { v: , unused: }', { name: null, external: false, driver: null, driverOpts: {}, labels: {} }],
    ['volumes: { v: { external: true } }', { name: 'v', external: true, driver: null, driverOpts: {}, labels: {} }],
    [
      'volumes: { v: { name: "${NAME}_data", driver: local, driver_opts: { type: tmpfs, size: 5 }, labels: { a: 1 } } }',
      {
        name: 'shop_data',
        external: false,
        driver: 'local',
        driverOpts: { type: 'tmpfs', size: '5' },
        labels: { a: '1' },
      },
    ],
  ])('should be volumes of %s', (rest, expected) => {
    expect(read('volumes: ["v:/v"]', rest, { NAME: 'shop' })?.volumeDefinitions).toEqual({ v: expected });
  });
});
