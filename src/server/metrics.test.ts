import { expect, it } from 'vitest';
import { createMetrics } from './metrics.ts';

it('should render what it counted in the format of Prometheus', () => {
  const metrics = createMetrics();
  const counter = metrics.counter('things_total', 'Things.');
  counter.add({ kind: 'a' });
  counter.add({ kind: 'a' }, 2);
  counter.add({ kind: 'b"\n' });
  const gauge = metrics.gauge('open', 'Open.');
  gauge.add(2);
  gauge.add(-1);
  metrics.observedGauge('seen', 'Seen.', () => 7);
  const histogram = metrics.histogram('took_seconds', 'Took.');
  for (const seconds of [0.0005, 0.02, 60]) histogram.observe(seconds);

  const text = metrics.render();
  expect(text).toContain(
    '# HELP things_total Things.\n# TYPE things_total counter\nthings_total{kind="a"} 3\nthings_total{kind="b__"} 1\n',
  );
  expect(text).toContain('# TYPE open gauge\nopen 1\n');
  expect(text).toContain('seen 7\n');
  expect(text).toContain('took_seconds_bucket{le="0.001"} 1\n');
  expect(text).toContain('took_seconds_bucket{le="0.025"} 2\n');
  expect(text).toContain(
    'took_seconds_bucket{le="10"} 2\ntook_seconds_bucket{le="+Inf"} 3\ntook_seconds_sum 60.0205\ntook_seconds_count 3\n',
  );
});
