/** Why a packet was dropped: derper's words, then ours, and the label values of the metrics. */
export const DROP_REASONS = [
  'unknown_dest',
  'unknown_dest_on_fwd',
  'gone_disconnected',
  'queue_head',
  'queue_tail',
  'write_error',
  'dup_client',
  /** The queue of a mesh link was full, and this was its oldest packet. */
  'mesh_queue',
  /** The mesh link that leads to the destination had ended, or did while the packet waited. */
  'mesh_down',
  /** All queues together held more than they may, and the destination's held the most. */
  'over_budget',
] as const;
/** Why a packet was dropped. */
export type DropReason = (typeof DROP_REASONS)[number];

/** Discovery packets, and the rest. */
export const PACKET_KINDS = ['disco', 'other'] as const;
/** The kind of a packet, by its first bytes: one of Tailscale's discovery, or any other. */
export type PacketKind = (typeof PACKET_KINDS)[number];

/** Packets that were dropped, or their payload bytes, by reason and kind: `packets_dropped:queue_head:disco`. */
export type DropCounter = `${'packets' | 'bytes'}_dropped:${DropReason}:${PacketKind}`;
