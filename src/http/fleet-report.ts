/** What `/debug/fleet.json` says, and `derpkit fleet` shows: the relays of a region as one of them sees them. */

/** Times are milliseconds since 1970. Keys are `nodekey:` and 64 hex digits. */
export interface FleetReport {
  readonly time: number;
  /** How relays learn where keys are. */
  readonly mode: 'full' | 'on-demand';
  readonly region: string;
  /** The relay that reports. */
  readonly here: FleetMember;
  /** The directory of the mode `on-demand` or of the source `nats`; `null` without both. */
  readonly directory: FleetDirectory | null;
  /** The other relays that announce themselves in the directory. */
  readonly relays: readonly FleetRelay[];
  /** The relays that this one meshes with in full: those of the settings in their order, then those that were found. */
  readonly mesh: readonly FleetMeshRelay[];
  /** The key that was asked for. */
  readonly key: KeyWhereabouts | null;
}

export interface FleetMember {
  /** Its key. */
  readonly relay: string;
  /** Where others dial it: `host:port`. */
  readonly address: string;
  readonly tlsName: string;
  readonly version: string;
  readonly load: FleetLoad;
  /** When it started, by its own clock. */
  readonly since: number;
}

export interface FleetLoad {
  /** Gauge: clients that are connected. */
  readonly clients: number;
  /** Gauge: mesh links that are connected. */
  readonly links: number;
  /** Counter: packets that clients and other relays have sent to it. */
  readonly packets: number;
}

export interface FleetRelay extends FleetMember {
  /** When this relay received its last announcement. */
  readonly seen: number;
  /** Why it has not answered this relay's question; empty if it has. */
  readonly silence: string;
  /** The link on demand to it; `null` before the relay knows of one. */
  readonly link: FleetLink | null;
  /** Settings with other values than here; `null` if it has some, and has not said which. */
  readonly differences: readonly SettingDifference[] | null;
}

export interface FleetLink {
  /** `idle`: no key needs it. `waiting`: the last dial has failed, and the next one is not due. */
  readonly state: string;
  readonly since: number;
  /** Gauge: keys whose packets take this link. */
  readonly keys: number;
  /** Gauge: dials in a row that have failed. */
  readonly failures: number;
  /** Why the last dial failed, or the last link ended; empty if neither happened. */
  readonly trouble: string;
}

/** A setting whose values differ. A relay of another version may not have it: then its value is absent. */
export interface SettingDifference {
  readonly name: string;
  readonly here?: SettingText;
  readonly there?: SettingText;
}

type SettingText = string | number | boolean | null;

export interface FleetDirectory {
  readonly state: string;
  /** Since when it has been in this state. While connections fail, since when there is none. */
  readonly since: number;
  /** Gauge: failures in a row. */
  readonly failures: number;
  /** Why the last attempt failed or the last connection ended; empty if neither happened. */
  readonly trouble: string;
  /** The server and its version; both are empty while there is no connection. */
  readonly server: string;
  readonly version: string;
  /** Milliseconds of the last round trip; `null` while there is no connection. */
  readonly roundTrip: number | null;
  /** Gauge: keys that this relay announces. */
  readonly keys: number;
}

export interface FleetMeshRelay extends Omit<FleetLink, 'keys'> {
  /** The relay as the settings or a source name it. */
  readonly name: string;
  /** Its key; `null` before the first connection. */
  readonly relay: string | null;
  /** Where its name is from: `meshWith`, or a source. */
  readonly from: string;
  /** Gauge: node keys that it announces. */
  readonly peers: number;
}

/** Where a key is. It is nowhere if it is neither here nor elsewhere, and there is no trouble. */
export interface KeyWhereabouts {
  readonly key: string;
  /** Whether a client with the key is connected to this relay. */
  readonly here: boolean;
  /** Another relay that has the key. Of several, the one to which the key came last. */
  readonly elsewhere: {
    /** The key of the relay. */
    readonly relay: string;
    /** Empty if the relay does not announce itself. */
    readonly address: string;
    /** About the time at which the key came there; `null` where a mesh link says so, and no directory. */
    readonly generation: number | null;
  } | null;
  /** Why the directory does not say whether another relay has the key; empty if it says. */
  readonly trouble: string;
}
