package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// One statement is one state of the database, whatever is written meanwhile.
const (
	selectServices = `SELECT s.context_name, s.name, s.status, s.definition, a.name, a.definition
		FROM services s LEFT JOIN actions a ON a.context_name = s.context_name AND a.service_name = s.name`
	whereService  = ` WHERE s.context_name = ? AND s.name = ?`
	orderServices = ` ORDER BY s.context_name, s.name, a.position, a.name`
)

// Services are all registered services, in the order of their names. One that
// can't be read is in the list with its error, and is no error of the list.
func (s *Store) Services(ctx context.Context) ([]units.Registered, error) {
	rows, err := readServices(ctx, s.r, selectServices+orderServices)
	if err != nil {
		return nil, s.fail(ctx, "read the services", err)
	}
	return decodeAll(rows), nil
}

// fewRows is up to how many services are decoded by one processor.
const fewRows = 100

// decodeAll decodes on all processors: of a thousand services that is what
// takes the time.
func decodeAll(rows []serviceRow) []units.Registered {
	all := make([]units.Registered, len(rows))
	share := max(fewRows, (len(rows)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var shares sync.WaitGroup
	for from := 0; from < len(rows); from += share {
		shares.Go(func() {
			for i := from; i < min(from+share, len(rows)); i++ {
				all[i] = rows[i].decode()
			}
		})
	}
	shares.Wait()
	return all
}

// Service is one registered service. Errors: CodeNoSuchService, and
// CodeInvalidDefinition if it can't be read.
func (s *Store) Service(ctx context.Context, id units.ID) (units.Service, error) {
	service, err := readService(ctx, s.r, id)
	if err != nil {
		return units.Service{}, s.fail(ctx, fmt.Sprintf("read service %q", id), err)
	}
	if service == nil {
		return units.Service{}, units.NoSuchService(id)
	}
	return *service, nil
}

// UpdateService registers or changes a service in one transaction: change gets
// the service as it stands, nil if it is not registered, and answers what it
// shall be. Its error comes back as it is, and nothing was changed.
//
// A service that can't be read is CodeInvalidDefinition, and change is not
// called: what it holds must not be lost by mistake. RemoveService takes it away.
//
// change has the store to itself: it must not write to it.
func (s *Store) UpdateService(ctx context.Context, id units.ID, change func(old *units.Service) (units.Service, error)) (units.Service, error) {
	var updated units.Service
	var refused error
	err := s.define(ctx, fmt.Sprintf("write service %q", id), func(tx *sql.Tx) error {
		old, err := readService(ctx, tx, id)
		if err != nil {
			return err
		}
		if updated, refused = change(old); refused != nil {
			return refused
		}
		if updated.ID != id {
			return units.Errorf(units.CodeInvalidArgument, "service %q can't become %q; a service can't be renamed", id, updated.ID)
		}
		return s.putService(ctx, tx, updated)
	})
	switch {
	case refused != nil:
		return units.Service{}, refused
	case err != nil:
		return units.Service{}, err
	}
	return updated, nil
}

// RemoveService takes a service and its actions away, also one that can't be
// read. Its history stays. Error: CodeNoSuchService.
func (s *Store) RemoveService(ctx context.Context, id units.ID) error {
	return s.define(ctx, fmt.Sprintf("remove service %q", id), func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM services WHERE context_name = ? AND name = ?`, id.Context, id.Name)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n > 0 {
			return err
		}
		return units.NoSuchService(id)
	})
}

// define changes definitions in one transaction. It never takes the room that
// the ballast kept.
func (s *Store) define(ctx context.Context, doing string, do func(tx *sql.Tx) error) error {
	err := s.reserve()
	if err == nil {
		if err = s.transact(ctx, do); diskFull(err) {
			s.full.Store(true)
		}
	}
	return s.fail(ctx, doing, err)
}

// write adds to the history, or takes from it, in one transaction. do runs
// again if the first try only showed that the disk is full.
func (s *Store) write(ctx context.Context, doing string, do func(tx *sql.Tx) error) error {
	err := s.transact(ctx, do)
	if diskFull(err) {
		s.squeeze(ctx)
		err = s.transact(ctx, do)
	}
	return s.fail(ctx, doing, err)
}

func (s *Store) transact(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := s.w.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		return err
	}
	defer s.writes.Add(1) // it may have got there also if it could not tell
	return tx.Commit()
}

func (s *Store) putService(ctx context.Context, tx *sql.Tx, service units.Service) error {
	// What could not be read again must not get in.
	if err := service.Validate(); err != nil {
		return err
	}
	row, err := encode(service)
	if err != nil {
		return err
	}
	now := s.now().UnixMicro()
	_, err = tx.ExecContext(ctx, `INSERT INTO services (context_name, name, status, definition, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (context_name, name) DO UPDATE
		SET status = excluded.status, definition = excluded.definition, updated_at = excluded.updated_at`,
		row.ID.Context, row.ID.Name, row.Status, row.Definition, now, now)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM actions WHERE context_name = ? AND service_name = ?`, row.ID.Context, row.ID.Name)
	if err != nil {
		return err
	}
	for i, a := range row.Actions {
		_, err := tx.ExecContext(ctx, `INSERT INTO actions (context_name, service_name, name, position, definition) VALUES (?, ?, ?, ?, ?)`,
			row.ID.Context, row.ID.Name, a.Name, i, a.Definition)
		if err != nil {
			return err
		}
	}
	return nil
}

// serviceRow is a service as the tables have it. The definitions are JSON
// objects without what has a column.
type serviceRow struct {
	ID         units.ID
	Status     string
	Definition string
	Actions    []actionRow
}

type actionRow struct{ Name, Definition string }

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func readServices(ctx context.Context, db querier, query string, args ...any) ([]serviceRow, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []serviceRow
	for rows.Next() {
		var r serviceRow
		var name, definition sql.NullString
		if err := rows.Scan(&r.ID.Context, &r.ID.Name, &r.Status, &r.Definition, &name, &definition); err != nil {
			return nil, err
		}
		if len(all) == 0 || all[len(all)-1].ID != r.ID {
			all = append(all, r)
		}
		if name.Valid {
			last := &all[len(all)-1]
			last.Actions = append(last.Actions, actionRow{name.String, definition.String})
		}
	}
	return all, rows.Err()
}

// readService is nil for a service that is not registered.
func readService(ctx context.Context, db querier, id units.ID) (*units.Service, error) {
	rows, err := readServices(ctx, db, selectServices+whereService+orderServices, id.Context, id.Name)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	stored := rows[0].decode()
	return &stored.Service, stored.Err
}

// fingerprint tells one set of definitions from another; "" is no services.
func fingerprint(ctx context.Context, db querier) (string, error) {
	rows, err := readServices(ctx, db, selectServices+orderServices)
	if err != nil || len(rows) == 0 {
		return "", err
	}
	sum := sha256.New()
	if err := gob.NewEncoder(sum).Encode(rows); err != nil { // JSON has one for all that is no UTF-8
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func encode(service units.Service) (serviceRow, error) {
	text, err := json.Marshal(service.Encode())
	if err != nil {
		return serviceRow{}, err
	}
	var def map[string]json.RawMessage
	if err := json.Unmarshal(text, &def); err != nil {
		return serviceRow{}, err
	}
	row := serviceRow{ID: service.ID, Status: string(service.Wanted)}
	if list, ok := def["actions"]; ok {
		var actions []map[string]json.RawMessage
		if err := json.Unmarshal(list, &actions); err != nil {
			return serviceRow{}, err
		}
		for i, a := range actions {
			delete(a, "name")
			text, err := json.Marshal(a)
			if err != nil {
				return serviceRow{}, err
			}
			row.Actions = append(row.Actions, actionRow{service.Actions[i].Name, string(text)})
		}
	}
	for _, column := range []string{"context", "name", "status", "actions"} {
		delete(def, column)
	}
	text, err = json.Marshal(def)
	row.Definition = string(text)
	return row, err
}

func (r serviceRow) decode() units.Registered {
	service, err := r.service()
	if err == nil {
		return units.Registered{Service: service, Digest: service.Digest()}
	}
	return units.Registered{
		Service: units.Service{ID: r.ID},
		Err: units.Errorf(units.CodeInvalidDefinition, "the stored definition of service %q can't be read: %w", r.ID, err).
			WithRemedy(fmt.Sprintf("hero_proc service remove %s\nhero_proc service set %s --exec 'COMMAND'", r.ID, r.ID)),
	}
}

func (r serviceRow) service() (units.Service, error) {
	def, err := object(r.Definition)
	if err != nil {
		return units.Service{}, err
	}
	actions := make([]any, len(r.Actions))
	for i, a := range r.Actions {
		action, err := object(a.Definition)
		if err != nil {
			return units.Service{}, fmt.Errorf("action %q: %w", a.Name, err)
		}
		action["name"] = a.Name
		actions[i] = action
	}
	def["context"], def["name"], def["status"], def["actions"] = r.ID.Context, r.ID.Name, r.Status, actions
	return units.DecodeService(def)
}

// object reads a JSON object; null is none.
func object(text string) (map[string]any, error) {
	var def map[string]any
	if err := json.Unmarshal([]byte(text), &def); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if def == nil {
		return nil, errors.New("null, not a JSON object")
	}
	return def, nil
}
