import { monitorEventLoopDelay } from 'node:perf_hooks';

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
const DURATION_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const NANOSECONDS = 1e9;

export type Labels = Readonly<Record<string, string>>;
export type Counter = { add(labels?: Labels, by?: number): void };
export type Histogram = { observe(seconds: number, labels?: Labels): void };
export type Gauge = { add(by: number, labels?: Labels): void };

/** A registry of measurements in the text format of Prometheus. Labels come from fixed sets: never from a client. */
export type Metrics = {
  counter(name: string, help: string): Counter;
  gauge(name: string, help: string): Gauge;
  /** A gauge that is read when it is asked for. */
  observedGauge(name: string, help: string, read: () => number): void;
  histogram(name: string, help: string): Histogram;
  render(): string;
};

type Family = { header: string; lines(): string[] };

export function createMetrics(): Metrics {
  const families: Family[] = [];

  function register(name: string, help: string, type: string, lines: () => string[]): void {
    families.push({ header: `# HELP ${name} ${help}\n# TYPE ${name} ${type}`, lines });
  }

  function series(name: string, help: string, type: 'counter' | 'gauge'): (labels: Labels, by: number) => void {
    const values = new Map<string, number>();
    register(name, help, type, () => [...values].map(([labels, value]) => `${name}${labels} ${value}`));
    return (labels, by) => {
      const key = formatLabels(labels);
      values.set(key, (values.get(key) ?? 0) + by);
    };
  }

  return {
    counter(name, help) {
      const change = series(name, help, 'counter');
      return { add: (labels = {}, by = 1) => change(labels, by) };
    },
    gauge(name, help) {
      const change = series(name, help, 'gauge');
      return { add: (by, labels = {}) => change(labels, by) };
    },
    observedGauge(name, help, read) {
      register(name, help, 'gauge', () => [`${name} ${read()}`]);
    },
    histogram(name, help) {
      const series = new Map<string, { labels: Labels; buckets: number[]; sum: number; count: number }>();
      register(name, help, 'histogram', () => [...series.values()].flatMap((entry) => histogramLines(name, entry)));
      return {
        observe(seconds, labels = {}) {
          const key = formatLabels(labels);
          let entry = series.get(key);
          if (!entry) {
            entry = { labels, buckets: DURATION_BUCKETS.map(() => 0), sum: 0, count: 0 };
            series.set(key, entry);
          }
          entry.sum += seconds;
          entry.count += 1;
          const bucket = DURATION_BUCKETS.findIndex((limit) => seconds <= limit);
          if (bucket >= 0) entry.buckets[bucket]! += 1;
        },
      };
    },
    render: () => `${families.flatMap(({ header, lines }) => [header, ...lines()]).join('\n')}\n`,
  };
}

/** Measurements of the process itself; the returned function stops them. */
export function observeProcess(metrics: Metrics): () => void {
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  metrics.observedGauge('process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss());
  metrics.observedGauge('nodejs_heap_size_used_bytes', 'JavaScript heap in use.', () => process.memoryUsage().heapUsed);
  metrics.observedGauge('process_cpu_seconds_total', 'CPU time, user and system.', () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  metrics.observedGauge('process_uptime_seconds', 'Time since the start.', () => process.uptime());
  metrics.observedGauge('nodejs_eventloop_lag_p99_seconds', '99th percentile since the last look.', () => {
    const value = delay.percentile(99) / NANOSECONDS;
    delay.reset();
    return value;
  });
  return () => delay.disable();
}

function histogramLines(
  name: string,
  { labels, buckets, sum, count }: { labels: Labels; buckets: number[]; sum: number; count: number },
): string[] {
  let cumulated = 0;
  const bucketLines = buckets.map((amount, index) => {
    cumulated += amount;
    return `${name}_bucket${formatLabels({ ...labels, le: String(DURATION_BUCKETS[index]) })} ${cumulated}`;
  });
  return [
    ...bucketLines,
    `${name}_bucket${formatLabels({ ...labels, le: '+Inf' })} ${count}`,
    `${name}_sum${formatLabels(labels)} ${sum}`,
    `${name}_count${formatLabels(labels)} ${count}`,
  ];
}

function formatLabels(labels: Labels): string {
  const entries = Object.entries(labels).map(([name, value]) => `${name}="${value.replace(/[\\"\n]/g, '_')}"`);
  return entries.length > 0 ? `{${entries.join(',')}}` : '';
}
