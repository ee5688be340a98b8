// Package suite runs the official conformance suite of the Gateway API as it is, with two additions: it can run a choice of
// tests in one go, and it keeps what a failed test leaves in the cluster before the test cleans up.
package suite

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

var (
	chosen = flag.String("tests", "",
		"comma-separated names of tests to run, whatever features the GatewayClass claims; without it all tests of claimed features")
	diagnoses = flag.String("diagnoses", "", "folder for the objects and logs of tests that fail")
)

func TestConformance(t *testing.T) {
	options := conformance.DefaultOptions(t)
	if *chosen != "" {
		picked, err := pick(tests.ConformanceTests, strings.Split(*chosen, ","))
		if err != nil {
			t.Fatal(err)
		}
		tests.ConformanceTests = picked
		options.SupportedFeatures = []features.FeatureName{features.SupportGateway}
		for _, test := range picked {
			options.SupportedFeatures = append(options.SupportedFeatures, test.Features...)
		}
	}
	if *diagnoses != "" {
		for i, test := range tests.ConformanceTests {
			tests.ConformanceTests[i] = diagnosed(test, *diagnoses)
		}
	}
	fmt.Printf("%d tests\n", len(tests.ConformanceTests))
	conformance.RunConformanceWithOptions(t, options)
}

// pick returns the tests of these names, in the suite's order. A name that no test has is an error.
func pick(all []suite.ConformanceTest, names []string) ([]suite.ConformanceTest, error) {
	var picked []suite.ConformanceTest
	for _, name := range names {
		if !slices.ContainsFunc(all, func(test suite.ConformanceTest) bool { return test.ShortName == name }) {
			return nil, fmt.Errorf("the suite has no test %q", name)
		}
	}
	for _, test := range all {
		if slices.Contains(names, test.ShortName) {
			picked = append(picked, test)
		}
	}
	return picked, nil
}

// diagnosed is a test that writes what it leaves behind to a folder of its name when it fails.
func diagnosed(test suite.ConformanceTest, folder string) suite.ConformanceTest {
	run := test.Test
	test.Test = func(t *testing.T, s *suite.ConformanceTestSuite) {
		// Registered last, so it comes before the suite deletes the test's objects.
		t.Cleanup(func() {
			if t.Failed() {
				diagnose(t, s, folder)
			}
		})
		run(t, s)
	}
	return test
}
