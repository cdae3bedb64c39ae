package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// maxDefinition bounds a definition file, in bytes. It is a guard against the
// wrong file; no definition comes near it.
const maxDefinition = 1 << 20

// readDefinition reads a definition from a JSON file, or from stdin for "-".
// It also takes what "service show --json" prints. It is strict about the
// JSON; what the keys mean is the daemon's to judge. No error ever shows a
// value: it may be of an environment.
func readDefinition(stdin io.Reader, path string) (map[string]any, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, units.Errorf(units.CodeInvalidArgument, "cannot read the definition: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxDefinition+1))
	if err != nil {
		return nil, units.Errorf(units.CodeInvalidArgument, "cannot read the definition: %w", err)
	}
	if len(data) > maxDefinition {
		return nil, units.Errorf(units.CodeInvalidDefinition, "%s is larger than %d bytes; is it the right file?", path, maxDefinition)
	}
	def, line, err := decodeObject(data)
	if err != nil {
		return nil, units.Errorf(units.CodeInvalidDefinition, "in %s, line %d: %w", path, line, err)
	}
	if shown, ok := def["definition"].(map[string]any); ok {
		if def["schema_version"] != int64(schemaVersion) {
			return nil, units.Errorf(units.CodeInvalidDefinition, "in %s: schema_version is not %d", path, schemaVersion)
		}
		return shown, nil
	}
	return def, nil
}

// decodeObject decodes one JSON object. Unlike encoding/json it keeps whole
// numbers whole, and refuses null and a key that stands twice. On an error,
// line says where.
func decodeObject(data []byte) (def map[string]any, line int, err error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := decodeValue(dec)
	if err == nil {
		var ok bool
		if def, ok = v.(map[string]any); !ok {
			err = errNoObject
		} else if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more follows after the definition")
		}
	}
	at := dec.InputOffset()
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return def, 0, nil
	case errors.As(err, &syntax):
		at = syntax.Offset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("the JSON ends too early; %w", errNoObject)
	}
	return nil, 1 + bytes.Count(data[:min(at, int64(len(data)))], []byte("\n")), err
}

var errNoObject = errors.New("want one JSON object with a definition")

func decodeValue(dec *json.Decoder) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '[' {
			return decodeList(dec)
		}
		return decodeMap(dec)
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return n, nil
		}
		return t.Float64()
	case nil:
		return nil, errors.New("null is no value; leave the key out")
	default:
		return t, nil
	}
}

func decodeMap(dec *json.Decoder) (any, error) {
	m := map[string]any{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key := token.(string) // anything else is a syntax error before
		if _, twice := m[key]; twice {
			return nil, fmt.Errorf("the key %q stands twice", key)
		}
		if m[key], err = decodeValue(dec); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return m, err
}

func decodeList(dec *json.Decoder) (any, error) {
	list := []any{}
	for dec.More() {
		v, err := decodeValue(dec)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := dec.Token()
	return list, err
}

// actionsOf are the actions of a definition, as JSON and the client have it.
func actionsOf(def map[string]any) []map[string]any {
	list, _ := def["actions"].([]any)
	var actions []map[string]any
	for _, v := range list {
		if a, ok := v.(map[string]any); ok {
			actions = append(actions, a)
		}
	}
	return actions
}
