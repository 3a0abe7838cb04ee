package vectors

import (
	"bytes"
	"expvar"
	"io"
	"regexp"
	"sort"
)

// drops are the labels of the drop counters, which every server creates at
// start. The names are unexported; the metric itself tells them.
func drops() object {
	newServer().Close()
	reasons, kinds := map[string]bool{}, map[string]bool{}
	row := regexp.MustCompile(`^derp_packets_dropped\{reason="(.*)",kind="(.*)"\} 0$`)
	metric := expvar.Get("derp_packets_dropped").(interface {
		WritePrometheus(w io.Writer, name string)
	})
	var text bytes.Buffer
	metric.WritePrometheus(&text, "derp_packets_dropped")
	rows := 0
	for _, line := range bytes.Split(bytes.TrimSpace(text.Bytes()), []byte("\n")) {
		if bytes.HasPrefix(line, []byte("#")) {
			continue
		}
		m := row.FindSubmatch(line)
		if m == nil {
			continue // a drop that an earlier vector provoked
		}
		reasons[string(m[1])], kinds[string(m[2])] = true, true
		rows++
	}
	return object{
		{"source", "rows of the derp_packets_dropped metric of a new derpserver.Server (" + upstream + ")"},
		{"reasons", sorted(reasons)},
		{"kinds", sorted(kinds)},
	}
}

func sorted(set map[string]bool) []string {
	var names []string
	for name := range set {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
