/* What the sources of the module share.
 *
 * Belongs here: names, how attributes and clocks are read. Does not belong here: anything a run does.
 *
 * Every function has a counterpart in Python beside this folder, named at its head, which is the reference. Objects
 * stay Backtrader's own; what is spared is Python's frames and lookups. No function keeps anything between calls.
 */

#ifndef BARLOOM_NATIVE_H
#define BARLOOM_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Attribute names, interned once: X(what C calls it, the name). */
#define NAMES(X)                                                                                                      \
    X(array, "array") X(clock_now, "_clock_now") X(first_values, "_first_values") X(size, "size")                      \
    X(stale, "stale") X(event_stop, "_event_stop") X(next, "next")

#define DECLARE(field, text) extern PyObject *name_##field;
NAMES(DECLARE)
#undef DECLARE

extern PyTypeObject *array_type; /* array.array */

/* The attributes of an object that keeps them in a dictionary; borrowed, NULL with an error if it has none. */
static inline PyObject *
attributes(PyObject *self)
{
    PyObject **found = _PyObject_GetDictPtr(self);
    if (found == NULL || *found == NULL) {
        PyErr_Format(PyExc_AttributeError, "'%.100s' object has no attributes", Py_TYPE(self)->tp_name);
        return NULL;
    }
    return *found;
}

/* One of these attributes; borrowed, NULL with an error if it is missing. */
static inline PyObject *
attribute(PyObject *own, PyObject *name)
{
    PyObject *value = PyDict_GetItemWithError(own, name);
    if (value == NULL && !PyErr_Occurred())
        PyErr_SetObject(PyExc_AttributeError, name);
    return value;
}

/* The bar that a clock, a list of one integer, stands at; -2 with an error set if it is none. */
static inline Py_ssize_t
clock_read(PyObject *clock)
{
    if (!PyList_CheckExact(clock) || PyList_GET_SIZE(clock) < 1) {
        PyErr_SetString(PyExc_TypeError, "a clock is a list of one integer");
        return -2;
    }
    return PyLong_AsSsize_t(PyList_GET_ITEM(clock, 0));
}

static inline int
clock_set(PyObject *clock, PyObject *bar)
{
    return PyList_SetItem(clock, 0, Py_NewRef(bar));
}

int add_reads(PyObject *module);
int add_loop(PyObject *module);

#endif
