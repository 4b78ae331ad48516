// Package walls holds the test that what package comments say of imports is true.
//
// It must not import any other package of this module, nor be imported.
package walls
