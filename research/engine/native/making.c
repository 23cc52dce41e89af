/* Objects with lines, made as Backtrader makes them.
 *
 * Belongs here: an object up to where its metaclass looks at its data, and its lines. Does not belong here: indicators,
 * strategies and what they know. The reference is research/engine/making.py.
 */

#include "orders.h"

static PyTypeObject *line_type, *line_params_type;
static PyObject *line_template, *kind_of_values;

/* What all objects of a class have in common, in the order of making._Shape.parts; borrowed. */
typedef struct {
    PyObject *plotinfo, *plot_defaults, *params, *defaults, *lines, *plotlines, *of_lines, *names;
} Shared;

/* making._buffer */
static PyObject *
new_line(PyObject *owner)
{
    PyObject *own = PyDict_Copy(line_template), *params = line_params_type->tp_alloc(line_params_type, 0);
    PyObject *values = PyObject_CallOneArg((PyObject *)array_type, kind_of_values), *bindings = PyList_New(0);
    PyObject *lines = PyList_New(1), *made = NULL;
    int failed = !own || !params || !values || !bindings || !lines || PyDict_SetItem(own, name_params, params) ||
                 PyDict_SetItem(own, name_p, params) || PyDict_SetItem(own, name_owner_of_line, owner) ||
                 PyDict_SetItem(own, name_lines, lines) || PyDict_SetItem(own, name_bindings, bindings) ||
                 PyDict_SetItem(own, name_array, values);
    if (!failed && (made = object_with(line_type, Py_NewRef(own))) != NULL)
        PyList_SET_ITEM(lines, 0, Py_NewRef(made));
    Py_XDECREF(own);
    Py_XDECREF(params);
    Py_XDECREF(values);
    Py_XDECREF(bindings);
    Py_XDECREF(lines);
    return made;
}

/* making._taken */
static PyObject *
taken(PyObject *defaults, PyObject *keywords)
{
    PyObject *values = PyDict_Copy(defaults), *names = NULL;
    if (values == NULL || PyDict_GET_SIZE(keywords) == 0 || (names = PyDict_Keys(keywords)) == NULL) {
        if (values != NULL && PyErr_Occurred())
            Py_CLEAR(values);
        return values;
    }
    for (Py_ssize_t number = 0; values != NULL && number < PyList_GET_SIZE(names); number++) {
        PyObject *name = PyList_GET_ITEM(names, number);
        int known = PyDict_Contains(values, name);
        if (known > 0 && (PyDict_SetItem(values, name, PyDict_GetItemWithError(keywords, name)) ||
                          PyDict_DelItem(keywords, name)))
            known = -1;
        if (known < 0)
            Py_CLEAR(values);
    }
    Py_DECREF(names);
    return values;
}

static PyObject *
filled(PyObject *type, PyObject *values)
{
    return object_with((PyTypeObject *)type, values);
}

/* How each line is plotted: an object of a class of its own. */
static PyObject *
plots(PyObject *of_lines)
{
    PyObject *values = PyDict_New();
    for (Py_ssize_t number = 0; values != NULL && number < PyTuple_GET_SIZE(of_lines); number++) {
        PyObject *one = PyTuple_GET_ITEM(of_lines, number), *make = PyTuple_GET_ITEM(one, 1);
        PyTypeObject *kind = (PyTypeObject *)PyTuple_GET_ITEM(one, 2);
        PyObject *made = make == Py_None ? kind->tp_alloc(kind, 0) : PyObject_CallOneArg(make, (PyObject *)kind);
        if (made == NULL || PyDict_SetItem(values, PyTuple_GET_ITEM(one, 0), made))
            Py_CLEAR(values);
        Py_XDECREF(made);
    }
    return values;
}

/* Set an attribute to a value that is given away, under one or two names. */
static int
give(PyObject *own, PyObject *name, PyObject *other, PyObject *value)
{
    int failed = value == NULL || PyDict_SetItem(own, name, value) || (other && PyDict_SetItem(own, other, value));
    Py_XDECREF(value);
    return failed ? -1 : 0;
}

/* The lines of an object, and their names among its attributes. */
static int
add_lines(PyObject *made, PyObject *own, Shared *shared)
{
    Py_ssize_t count = PyTuple_GET_SIZE(shared->names);
    PyObject *lines = PyList_New(count);
    for (Py_ssize_t number = 0; lines != NULL && number < count; number++) {
        PyObject *line = new_line(made);
        if (line == NULL)
            Py_CLEAR(lines);
        else
            PyList_SET_ITEM(lines, number, line);
    }
    PyObject *values = lines == NULL ? NULL : PyDict_New();
    int failed = values == NULL || PyDict_SetItem(values, name_lines, lines) ||
                 give(own, name_lines, name_l, filled(shared->lines, Py_NewRef(values))) ||
                 give(own, name_plotlines, NULL, filled(shared->plotlines, plots(shared->of_lines))) ||
                 (count && PyDict_SetItem(own, name_line, PyList_GET_ITEM(lines, 0)));
    for (Py_ssize_t number = 0; !failed && number < count; number++) {
        PyObject *names = PyTuple_GET_ITEM(shared->names, number), *line = PyList_GET_ITEM(lines, number);
        failed = PyDict_SetItem(own, PyTuple_GET_ITEM(names, 0), line) ||
                 PyDict_SetItem(own, PyTuple_GET_ITEM(names, 1), line);
    }
    Py_XDECREF(values);
    Py_XDECREF(lines);
    return failed ? -1 : 0;
}

PyDoc_STRVAR(container_doc, "container(type, parts, keywords, owner)\n--\n\n"
                            "An object with lines; parameters are taken out of the keywords.");

/* making._container, its owner known */
static PyObject *
container(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyTypeObject *type;
    PyObject *parts, *keywords, *owner;
    Shared shared;
    if (!PyArg_ParseTuple(args, "O!O!O!O:container", &PyType_Type, &type, &PyTuple_Type, &parts, &PyDict_Type,
                          &keywords, &owner) ||
        !PyArg_ParseTuple(parts, "O!O!O!O!O!O!O!O!", &PyType_Type, &shared.plotinfo, &PyDict_Type,
                          &shared.plot_defaults, &PyType_Type, &shared.params, &PyDict_Type, &shared.defaults,
                          &PyType_Type, &shared.lines, &PyType_Type, &shared.plotlines, &PyTuple_Type, &shared.of_lines,
                          &PyTuple_Type, &shared.names))
        return NULL;
    PyObject *plotinfo = filled(shared.plotinfo, taken(shared.plot_defaults, keywords));
    PyObject *params = plotinfo == NULL ? NULL : filled(shared.params, taken(shared.defaults, keywords));
    PyObject *own = params == NULL ? NULL : PyDict_New();
    PyObject *made = own == NULL ? NULL : object_with(type, Py_NewRef(own));
    if (made != NULL && (PyDict_SetItem(own, name_params, params) || PyDict_SetItem(own, name_p, params) ||
                         PyDict_SetItem(own, name_owner_of_line, owner) ||
                         PyDict_SetItem(own, name_plotinfo, plotinfo) || add_lines(made, own, &shared)))
        Py_CLEAR(made);
    Py_XDECREF(plotinfo);
    Py_XDECREF(params);
    Py_XDECREF(own);
    return made;
}

static PyMethodDef functions[] = {{"container", container, METH_VARARGS, container_doc}, {NULL}};

int
add_making(PyObject *module)
{
    line_type = type_of("backtrader.linebuffer", "LineBuffer");
    line_params_type = line_type == NULL ? NULL : (PyTypeObject *)PyObject_GetAttr((PyObject *)line_type, name_params);
    kind_of_values = PyUnicode_InternFromString("d");
    PyObject *unbounded = line_type == NULL ? NULL : PyObject_GetAttrString((PyObject *)line_type, "UnBounded");
    if (line_params_type == NULL || kind_of_values == NULL || unbounded == NULL)
        return -1;
    PyObject *to_come = Py_BuildValue("{sisi}", "_minperiod", 0, "_opstage", 0);
    line_template = Py_BuildValue("{OOOOOOOOsNOOOOsOsisisisO}", name_params, Py_None, name_p, Py_None,
                                  name_owner_of_line, Py_None, name_lines, Py_None, "mode", unbounded, name_bindings,
                                  Py_None, name_array, Py_None, "useislice", Py_False, "lencount", 0, "_idx", -1,
                                  "extension", 0, "_tz", Py_None);
    line_template = to_come == NULL ? NULL : compact(line_template, to_come, NO_PLACE);
    Py_XDECREF(to_come);
    return line_template == NULL || PyModule_AddFunctions(module, functions) ? -1 : 0;
}
