package vectors

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
)

// upstream is the release every vector comes from; [Build] checks that it is
// the one linked into the program.
const upstream = "tailscale.com v1.104.5"

// member is one named value of an [object].
type member struct {
	name  string
	value any
}

// object is a JSON object that keeps its members in the order they were
// written, so that the file reads in protocol order and never reshuffles.
type object []member

func (o object) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			out.WriteByte(',')
		}
		name, err := marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := marshal(m.value)
		if err != nil {
			return nil, err
		}
		out.Write(name)
		out.WriteByte(':')
		out.Write(value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// marshal is json.Marshal without HTML escaping: the file is read by people.
func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

// group is a set of entries that share one source.
func group(source string, values object) object {
	return object{{"source", source + " (" + upstream + ")"}, {"values", values}}
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }
