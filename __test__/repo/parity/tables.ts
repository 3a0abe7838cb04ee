import { FLAGS, VARIABLES } from './flags.ts';
import { LOGS } from './logs.ts';
import { METRICS } from './metrics.ts';
import type { Table } from './table.ts';
import { ENDPOINTS, FRAME_TYPES } from './wire.ts';

export const TABLES: readonly Table[] = [
  { title: 'Flags', rows: FLAGS },
  { title: 'Environment', rows: VARIABLES },
  { title: 'Endpoints', rows: ENDPOINTS },
  { title: 'Frames', rows: FRAME_TYPES },
  { title: 'Metrics', rows: METRICS },
  { title: 'Logs of clients that fail', rows: LOGS },
];
