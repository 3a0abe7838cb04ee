/** Where keys are, when relays do not tell each other about all of them: the directory of a region. */
import type { NodeKey } from '../../protocol/key.js';

/** Which relay of the region a key is at. */
export interface Place {
  readonly relay: NodeKey;
  /**
   * Which of two places is the later one: the larger generation, then the larger `relay`. It is about the milliseconds
   * since 1970 at which the key came to the relay.
   */
  readonly generation: number;
}

/** Whether a place is a later one than another. A place is not later than itself. */
export function isLater(place: Place, than: Place): boolean {
  if (place.generation !== than.generation) return place.generation > than.generation;
  return place.relay > than.relay;
}

/** Tells other relays of the region which keys are here, and finds the relay of any other key. */
export interface Directory {
  /** Begins to connect; called once. The directory calls nothing before that, and nothing after {@link close}. */
  start(sink: DirectorySink): void;
  /** Tells the other relays that this one leaves, as far as it can, and ends the connection. Never rejects. */
  close(): Promise<void>;
  /** The key is connected here from now on. While there is no connection, the directory notes it for later. */
  announce(key: NodeKey): void;
  /** The key is no longer connected here. */
  withdraw(key: NodeKey): void;
  /**
   * Resolves with another relay that has the key, or with `undefined` if no other relay has it. Rejects with a
   * {@link DirectoryError} if the directory cannot say. {@link DirectorySink.moved} tells of a later place that becomes
   * known within the next second.
   */
  find(key: NodeKey): Promise<Place | undefined>;
  /** From now on, {@link DirectorySink.moved} tells where the key goes. */
  watch(key: NodeKey): void;
  unwatch(key: NodeKey): void;
  /**
   * The relays of the region that announce themselves: this one first, and then another one that has its key, which should not
   * be, if there is one.
   */
  relays(): readonly AnnouncedRelay[];
  /** Resolves with what another relay says about itself now. Rejects with a {@link DirectoryError} if it says nothing. */
  ask(relay: NodeKey): Promise<RelayFacts>;
  status(): DirectoryStatus;
}

/** What a directory tells. */
export interface DirectorySink {
  /**
   * A relay has the key, or has it no longer: then `place` is `undefined`. `from` is that relay, never this one. What
   * arrives may be older than what is known: {@link isLater} decides. `generation` is that of the place that has ended, or
   * of `place`.
   */
  moved(key: NodeKey, from: NodeKey, place: Place | undefined, generation: number): void;
  /** All relays that announce themselves now, as {@link Directory.relays} lists them: one has come, gone or changed its address. */
  relays(all: readonly AnnouncedRelay[]): void;
  /**
   * The connection is up, or down. News may have been missed while it was down: after `true`, the place of each watched key
   * is uncertain until {@link Directory.find} says it again, which the caller paces. Watches stay.
   */
  state(isUp: boolean): void;
}

/** A relay of the region, as it has announced itself last. */
export interface AnnouncedRelay {
  readonly id: NodeKey;
  /** The address to dial: an IP address or a host name. */
  readonly address: string;
  readonly port: number;
  /** The name that the relay's certificate covers. */
  readonly tlsName: string;
  readonly version: string;
  readonly load: RelayLoad;
  /** A digest of the settings: relays with one digest have equal settings. */
  readonly settings: string;
  /** When the relay started: milliseconds since 1970 by its own clock. */
  readonly since: number;
  /** When this relay received the last announcement: milliseconds since 1970. */
  readonly seen: number;
}

/** How much a relay has to do. */
export interface RelayLoad {
  /** Gauge: clients that are connected. */
  readonly clients: number;
  /** Gauge: mesh links that are connected. */
  readonly links: number;
  /** Counter: packets that clients and other relays have sent to it. */
  readonly packets: number;
}

/** What a relay says about itself when it is asked. */
export interface RelayFacts {
  readonly version: string;
  readonly load: RelayLoad;
  /** Its settings by name: those that may be shown to others who have the mesh key. */
  readonly settings: Readonly<Record<string, SettingValue>>;
}

/** The value of a setting; none of them is a secret. */
export type SettingValue = string | number | boolean | null;

/** Why a directory cannot say where a key is, or what a relay does. */
export type DirectoryTrouble =
  /** There is no connection to the directory. */
  | 'down'
  /** No answer has come in time. */
  | 'late'
  /** No relay has answered that it has the key, and a relay has not yet announced all of its keys. */
  | 'syncing'
  /** Too many questions are under way. */
  | 'crowded'
  /** The relay that is asked has not answered in time. */
  | 'silent'
  /** The relay that is asked has no connection to the directory. */
  | 'absent'
  /** The answer of the relay that is asked is malformed. */
  | 'malformed';

/** The directory cannot say where a key is, which may be anywhere or nowhere; or a relay does not say what it does. */
export class DirectoryError extends Error {
  override name = 'DirectoryError';

  constructor(readonly trouble: DirectoryTrouble) {
    super(TROUBLES[trouble]);
  }
}

const TROUBLES: Readonly<Record<DirectoryTrouble, string>> = {
  down: 'the directory is not connected',
  late: 'the directory does not answer in time',
  syncing: 'a relay has not announced all of its keys yet',
  crowded: 'too many questions to the directory are under way',
  silent: 'the relay does not answer in time',
  absent: 'the relay is not connected to the directory',
  malformed: 'the answer of the relay is malformed',
};

/** The state of a directory. */
export interface DirectoryStatus {
  /** `syncing`: connected, and the keys that are here are being announced. */
  readonly state: 'connecting' | 'syncing' | 'up' | 'waiting';
  /** Since when it has been in this state: milliseconds since 1970. While connections fail, since when there is none. */
  readonly since: number;
  /** Gauge: failures in a row. */
  readonly failures: number;
  /** Why the last attempt failed or the last connection ended; empty if neither happened yet. */
  readonly trouble: string;
  /** The server, without user and password; empty while there is no connection. */
  readonly server: string;
  /** The server's version; empty while there is no connection. */
  readonly version: string;
  /** Milliseconds of the last round trip; `undefined` while there is no connection. */
  readonly roundTrip: number | undefined;
  /** Where another relay announces itself with the key of this one, as `address:port`; empty if none does. */
  readonly twin: string;
  /** Gauge: keys that are announced by this relay. */
  readonly keys: number;
  /** Gauge: keys that are watched. */
  readonly watched: number;
  /** Gauge: finds under way, those that wait included. */
  readonly finding: number;
  /** What it has counted. */
  readonly counts: DirectoryCounts;
}

/** What a directory counts. Counters from the start on. */
export interface DirectoryCounts {
  /** Connections to a server. */
  readonly connected: number;
  /** Connections that have ended. */
  readonly lost: number;
  /** Keys that another relay has. */
  readonly found: number;
  /** Keys that no relay has. */
  readonly nowhere: number;
  /** Questions that were not answered in time. */
  readonly late: number;
  /** Questions that were asked while other relays were still announcing their keys. */
  readonly syncing: number;
  /** Questions that came when too many were under way. */
  readonly crowded: number;
  /** Questions that came while there was no connection, or that were under way when it ended. */
  readonly down: number;
  /** Questions of other relays that were answered. */
  readonly answered: number;
  /** News of other relays about watched keys. */
  readonly news: number;
  /** Messages that are no messages of this mesh: they do not open, or are malformed, or do not belong to their subject. */
  readonly refused: number;
}
