package wire

import (
	"encoding/xml"
	"sync"
)

// Emission is what PropertiesChanged says of a property when it changes: the
// annotation org.freedesktop.DBus.Property.EmitsChangedSignal of the D-Bus
// specification, "Introspection Data Format".
type Emission string

const (
	EmitsValue       Emission = "true"
	EmitsInvalidated Emission = "invalidates"
	EmitsConst       Emission = "const"
	EmitsNothing     Emission = "false"
)

// Emissions are those of an interface's properties. They stand in its
// introspection XML and nowhere else, so what is promised is what is sent.
func Emissions(iface string) map[string]Emission { return emissions()[iface] }

var emissions = sync.OnceValue(func() map[string]map[string]Emission {
	all := map[string]map[string]Emission{}
	for _, text := range ownXML {
		var node struct {
			Interfaces []struct {
				Name       string `xml:"name,attr"`
				Properties []struct {
					Name        string `xml:"name,attr"`
					Annotations []struct {
						Name  string   `xml:"name,attr"`
						Value Emission `xml:"value,attr"`
					} `xml:"annotation"`
				} `xml:"property"`
			} `xml:"interface"`
		}
		if err := xml.Unmarshal([]byte("<node>"+text+"</node>"), &node); err != nil {
			panic(err) // a test reads it too
		}
		for _, i := range node.Interfaces {
			of := map[string]Emission{}
			for _, p := range i.Properties {
				for _, a := range p.Annotations {
					if a.Name == "org.freedesktop.DBus.Property.EmitsChangedSignal" {
						of[p.Name] = a.Value
					}
				}
			}
			all[i.Name] = of
		}
	}
	return all
})
