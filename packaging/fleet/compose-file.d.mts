/** A service of the compose file of the fleet. */
export interface FleetService {
  readonly name: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly address: string;
  readonly aliases: readonly string[];
}

/** Reads the compose file of the fleet, with its variables filled in, without compose. */
export function readFleet(variables: Readonly<Record<string, string>>): {
  readonly services: readonly FleetService[];
  readonly configs: Readonly<Record<string, string>>;
};
