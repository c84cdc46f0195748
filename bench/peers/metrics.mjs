/** What the benchmarks ask of every server: its CPU time, user and system. */
export function renderMetrics() {
  const { user, system } = process.cpuUsage();
  return `process_cpu_seconds_total ${(user + system) / 1e6}\n`;
}
