/* How a line, a feed or an indicator is read during a run.
 *
 * Belongs here: `line[ago]`, `len(line)`, the truth of a position. Does not belong here: who follows which clock
 * (research/engine/lines.py).
 *
 * The types are bases of classes that are made for a run; a class takes their slots by naming them in its body, and
 * Python then calls these functions without looking a method up.
 */

#include "native.h"

/* `values[clock + ago]` as Python does it: for whatever is not an array and a small number. */
static PyObject *
item_of_anything(PyObject *values, PyObject *clock, PyObject *ago)
{
    PyObject *index = PyNumber_Add(PyList_GET_ITEM(clock, 0), ago);
    if (index == NULL)
        return NULL;
    PyObject *value = PyObject_GetItem(values, index);
    Py_DECREF(index);
    return value;
}

static PyObject *
item(PyObject *self, PyObject *ago, PyObject *name, int number)
{
    PyObject *own = attributes(self), *clock, *values;
    if (own == NULL || (clock = attribute(own, name_clock_now)) == NULL ||
        (values = attribute_at_place(own, name, number)) == NULL)
        return NULL;
    Py_ssize_t now = clock_read(clock);
    if (now == -2 && PyErr_Occurred())
        return NULL;
    if (PyLong_CheckExact(ago) && Py_IS_TYPE(values, array_type)) {
        int beyond = 0;
        long long back = PyLong_AsLongLongAndOverflow(ago, &beyond);
        if (!beyond && back < PY_SSIZE_T_MAX / 2 && back > -PY_SSIZE_T_MAX / 2) {
            Py_ssize_t at = now + (Py_ssize_t)back;
            if (is_doubles(values) && at >= 0 && at < Py_SIZE(values))
                return PyFloat_FromDouble(doubles_of(values)[at]);
            return PySequence_GetItem(values, at);
        }
    }
    return item_of_anything(values, clock, ago);
}

/* lines._line_item */
static PyObject *
line_item(PyObject *self, PyObject *ago)
{
    return item(self, ago, NAMED(name_array));
}

/* lines._series_item */
static PyObject *
series_item(PyObject *self, PyObject *ago)
{
    return item(self, ago, NAMED(name_first_values));
}

/* lines._line_length */
static Py_ssize_t
length(PyObject *self)
{
    PyObject *own = attributes(self), *clock;
    if (own == NULL || (clock = attribute(own, name_clock_now)) == NULL)
        return -1;
    Py_ssize_t now = clock_read(clock);
    return now == -2 && PyErr_Occurred() ? -1 : now + 1;
}

/* positions.MarkedPosition.__bool__ */
static int
is_held(PyObject *self)
{
    PyObject *own = attributes(self), *size;
    if (own == NULL || (size = attribute(own, name_size)) == NULL)
        return -1;
    return PyObject_IsTrue(size);
}

/* Where objects of a type keep the values that they are read from; borrowed, NULL for a type that is read otherwise. */
PyObject *
values_of(PyTypeObject *type)
{
    PyMappingMethods *mapping = type->tp_as_mapping;
    if (mapping == NULL)
        return NULL;
    if (mapping->mp_subscript == line_item)
        return name_array;
    return mapping->mp_subscript == series_item ? name_first_values : NULL;
}

/* Whether the length of a type's objects is that of its clock. */
int
counts_bars(PyTypeObject *type)
{
    return type->tp_as_mapping != NULL && type->tp_as_mapping->mp_length == length;
}

/* Whether an object of a type is true while it holds anything. */
int
tells_held(PyTypeObject *type)
{
    return type->tp_as_number != NULL && type->tp_as_number->nb_bool == is_held;
}

#define READS_TYPE(made, text, doc, ...)                                                                               \
    static PyType_Slot made##_slots[] = {{Py_tp_doc, doc}, __VA_ARGS__, {0, NULL}};                                    \
    static PyType_Spec made##_spec = {                                                                                 \
        .name = "research.engine.native._loop." text,                                                                  \
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,                                                             \
        .slots = made##_slots,                                                                                         \
    };

READS_TYPE(line, "LineReads", "How a line is read.", {Py_mp_subscript, line_item}, {Py_mp_length, length})
READS_TYPE(series, "SeriesReads", "How a feed or indicator is read.", {Py_mp_subscript, series_item},
           {Py_mp_length, length})
READS_TYPE(held, "HeldTruth", "Whether a position holds anything.", {Py_nb_bool, is_held})

PyTypeObject *held_type;

/* Make a type and name it in the module; borrowed, NULL with an error set. */
static PyTypeObject *
add_type(PyObject *module, PyType_Spec *spec)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromSpec(spec);
    if (type != NULL && PyModule_AddType(module, type))
        Py_CLEAR(type);
    Py_XDECREF(type);
    return type;
}

int
add_reads(PyObject *module)
{
    held_type = add_type(module, &held_spec);
    return held_type && add_type(module, &line_spec) && add_type(module, &series_spec) ? 0 : -1;
}
