/** Why a packet was dropped. derper's reasons come first, then derpkit's own; metrics use them as label values. */
export const DROP_REASONS = [
  'unknown_dest',
  'unknown_dest_on_fwd',
  'gone_disconnected',
  'queue_head',
  'queue_tail',
  'write_error',
  'dup_client',
  /** The queue of a mesh link was full, and the packet was its oldest. */
  'mesh_queue',
  /** The mesh link to the destination ended before the packet was sent. */
  'mesh_down',
  /** All queues together exceeded their limit, and the destination held the most. */
  'over_budget',
  /** Packets to the destination stood in its queue for too long, and the packet was at the head. */
  'queue_age',
] as const;
/** Why a packet was dropped. */
export type DropReason = (typeof DROP_REASONS)[number];

/** Packet kinds: discovery packets, and all others. */
export const PACKET_KINDS = ['disco', 'other'] as const;
/** The kind of a packet, which its first bytes show: a Tailscale discovery packet, or another one. */
export type PacketKind = (typeof PACKET_KINDS)[number];

/** Dropped packets, or their payload bytes, by reason and kind: `packets_dropped:queue_head:disco`. */
export type DropCounter = `${'packets' | 'bytes'}_dropped:${DropReason}:${PacketKind}`;
