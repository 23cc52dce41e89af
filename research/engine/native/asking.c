/* What a strategy asks at its bars: its position, and orders.
 *
 * Belongs here: `self.position`, `self.getposition`, `self.buy`, `self.sell`, `self.close` of Backtrader's strategies,
 * looking attributes of lines up. Does not belong here: what becomes of an order (see orders.c, matching.c).
 *
 * The reference is backtrader.Strategy. The type is a base of classes that are made for a run; what a strategy or a
 * broker has a way of its own for, and every order that belongs to another, is left to Backtrader's methods.
 */

#include "orders.h"

static PyTypeObject *buy_type, *sell_type;
static PyObject *session_end, *strategy_buy, *strategy_sell, *strategy_close, *strategy_position, *zero;

enum wanted {
    DATA, SIZE, PRICE, PLIMIT, EXECTYPE, VALID, TRADEID, OCO, TRAILAMOUNT, TRAILPERCENT, PARENT, TRANSMIT, WANTED
};

static PyObject *wanted_names; /* of `buy` and `sell`, in their order */
static PyObject *sizing_names; /* of what `getsizing` is given by name */

/* ---------------------------------------------------------------- attributes */

/* What Python does for a class with `__getattr__`, without looking for `__getattribute__` first. */
static PyObject *
find_attribute(PyObject *self, PyObject *name)
{
    PyObject *found = PyObject_GenericGetAttr(self, name);
    if (found != NULL || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return found;
    PyObject *type = (PyObject *)Py_TYPE(self), *fallback;
    PyErr_Clear();
    if ((fallback = PyObject_GetAttr(type, name_getattr)) == NULL)
        return NULL;
    found = PyObject_CallFunctionObjArgs(fallback, self, name, NULL);
    Py_DECREF(fallback);
    return found;
}

/* Let the attributes of a class's objects be found by the function above; it must not have a `__getattribute__`. */
static PyObject *
find_quickly(PyObject *Py_UNUSED(module), PyObject *type)
{
    if (!PyType_Check(type) || !PyType_HasFeature((PyTypeObject *)type, Py_TPFLAGS_HEAPTYPE))
        return PyErr_Format(PyExc_TypeError, "find_quickly(type)");
    ((PyTypeObject *)type)->tp_getattro = find_attribute;
    PyType_Modified((PyTypeObject *)type);
    Py_RETURN_NONE;
}

int
finds_quickly(PyTypeObject *type)
{
    return type->tp_getattro == find_attribute;
}

/* ---------------------------------------------------------------- the position */

/* The attributes of the run's broker, if a strategy's broker still is that one; borrowed, NULL without an error. */
PyObject *
broker_of_run(PyObject *own)
{
    PyObject *broker = found(own, name_broker);
    if (broker == NULL || broker != found(own, name_broker_now))
        return NULL;
    PyObject **found = _PyObject_GetDictPtr(broker);
    return found == NULL ? NULL : *found;
}

/* The first feed of a strategy; borrowed, NULL without an error. */
PyObject *
first_feed(PyObject *own)
{
    PyObject *datas = found(own, name_datas);
    return datas != NULL && PyList_CheckExact(datas) && PyList_GET_SIZE(datas) ? PyList_GET_ITEM(datas, 0) : NULL;
}

/* The position of a feed, of the first where it is NULL; a new reference, NULL perhaps without an error. */
static PyObject *
held(PyObject *own, PyObject *data)
{
    PyObject *broker = broker_of_run(own), *positions;
    if (broker == NULL || (data == NULL && (data = first_feed(own)) == NULL) ||
        (positions = PyDict_GetItemWithError(broker, name_positions)) == NULL || !PyDict_Check(positions))
        return NULL;
    PyObject *position = PyDict_GetItemWithError(positions, data);
    return position == NULL && !PyErr_Occurred() ? PyObject_GetItem(positions, data) : Py_XNewRef(position);
}

static PyObject *
get_position(PyObject *self, void *Py_UNUSED(closure))
{
    PyObject *own = attributes(self), *position = own == NULL ? NULL : held(own, NULL);
    return position != NULL || PyErr_Occurred() ? position : PyObject_CallOneArg(strategy_position, self);
}

/* Call one of Backtrader's own methods with what a strategy gave. */
static PyObject *
in_python(PyObject *method, PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    PyObject *given[2 * WANTED + 8], *done;
    Py_ssize_t all = count + (keywords == NULL ? 0 : PyTuple_GET_SIZE(keywords));
    PyObject **room = all < 2 * WANTED + 8 ? given : PyMem_New(PyObject *, all + 1);
    if (room == NULL)
        return PyErr_NoMemory();
    room[0] = self;
    memcpy(room + 1, args, (size_t)all * sizeof *args);
    done = PyObject_Vectorcall(method, room, (size_t)count + 1, keywords);
    if (room != given)
        PyMem_Free(room);
    return done;
}

static PyObject *
getposition(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    PyObject *own = attributes(self), *position = NULL;
    if (own == NULL)
        return NULL;
    int plain = keywords == NULL && count <= 2;
    if (plain && (count < 2 || args[1] == Py_None || args[1] == found(own, name_broker)))
        position = held(own, count && args[0] != Py_None ? args[0] : NULL);
    return position != NULL || PyErr_Occurred() ? position : in_python(strategy_position, self, args, count, keywords);
}

/* ---------------------------------------------------------------- orders */

/* Sort what was given into its places; 0 where there is something else among it. */
static int
take_arguments(PyObject **given, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    if (count > WANTED)
        return 0;
    memcpy(given, args, (size_t)count * sizeof *args);
    for (Py_ssize_t number = 0; keywords != NULL && number < PyTuple_GET_SIZE(keywords); number++) {
        PyObject *name = PyTuple_GET_ITEM(keywords, number);
        Py_ssize_t place = 0;
        while (place < WANTED && PyTuple_GET_ITEM(wanted_names, place) != name)
            place++;
        if (place == WANTED || given[place] != NULL)
            return 0;
        given[place] = args[count + number];
    }
    return 1;
}

static int
is_none(PyObject *given)
{
    return given == NULL || given == Py_None;
}

/* Whether an order belongs to no other, is good until it is cancelled and goes out at once. */
static int
is_alone(PyObject **given)
{
    return is_none(given[VALID]) && is_none(given[OCO]) && is_none(given[PARENT]) &&
           (given[TRANSMIT] == NULL || given[TRANSMIT] == Py_True) &&
           (is_none(given[DATA]) || !PyUnicode_Check(given[DATA]));
}

/* MatchingBroker._sends_plainly, of a broker's attributes that were not replaced; 0 also where it is not to be had. */
static int
sends_plainly(PyObject *broker)
{
    if (PyDict_GetItemWithError(broker, name_usual) != Py_True ||
        is_none(PyDict_GetItemWithError(broker, name_native)) || PyDict_GetItemWithError(broker, name_buy) != NULL ||
        PyDict_GetItemWithError(broker, name_sell) != NULL)
        return 0;
    PyObject *p = PyDict_GetItemWithError(broker, name_p), *checks = p == NULL ? NULL : stored(p, name_checksubmit);
    int plainly = checks == Py_True;
    Py_XDECREF(checks);
    PyErr_Clear();
    return plainly;
}

/* The quantity of an order, as it was given or by the sizer; a new reference. */
static PyObject *
quantity(PyObject *self, PyObject *data, PyObject *given, PyTypeObject *type)
{
    if (!is_none(given))
        return Py_NewRef(given);
    PyObject *method = PyObject_GetAttr(self, name_getsizing);
    PyObject *asked[] = {data, type == buy_type ? Py_True : Py_False};
    PyObject *size = method == NULL ? NULL : PyObject_Vectorcall(method, asked, 1, sizing_names);
    Py_XDECREF(method);
    return size;
}

static PyObject *
given_or(PyObject *given, PyObject *otherwise)
{
    return given == NULL ? otherwise : given;
}

/* Make the order of this quantity and send it. */
static PyObject *
send_order(PyObject *self, PyObject *broker, PyTypeObject *type, PyObject *data, PyObject *size, PyObject **given)
{
    PyObject *absolute = PyNumber_Absolute(size);
    if (absolute == NULL)
        return NULL;
    PyObject *values[] = {
        self, data, absolute, given_or(given[PRICE], Py_None), given_or(given[PLIMIT], Py_None),
        given_or(given[EXECTYPE], Py_None), Py_None, given_or(given[TRADEID], zero), Py_None,
        given_or(given[TRAILAMOUNT], Py_None), given_or(given[TRAILPERCENT], Py_None), Py_None, Py_True, Py_False,
        Py_False};
    PyObject *order = send_plainly(broker, type, values, session_end);
    Py_DECREF(absolute);
    return order;
}

/* Strategy.buy and Strategy.sell */
static PyObject *
order(PyObject *self, PyTypeObject *type, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    PyObject *given[WANTED] = {NULL}, *own = attributes(self), *broker, *data;
    if (own == NULL)
        return NULL;
    if (!take_arguments(given, args, count, keywords) || !is_alone(given) || (broker = broker_of_run(own)) == NULL ||
        !sends_plainly(broker) || (data = is_none(given[DATA]) ? first_feed(own) : given[DATA]) == NULL)
        return in_python(type == buy_type ? strategy_buy : strategy_sell, self, args, count, keywords);
    PyObject *size = quantity(self, data, given[SIZE], type), *done = NULL;
    int any = size == NULL ? -1 : PyObject_IsTrue(size);
    if (any >= 0)
        done = any ? send_order(self, found(own, name_broker), type, data, size, given)
                   : Py_NewRef(Py_None);
    Py_XDECREF(size);
    return done;
}

static PyObject *
buy(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    return order(self, buy_type, args, count, keywords);
}

static PyObject *
sell(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    return order(self, sell_type, args, count, keywords);
}

/* What of `close` is left once the feed is known: the order against the position. */
static PyObject *
close_position(PyObject *self, PyObject *position, PyObject *data, PyObject *size)
{
    PyObject *holds = stored(position, name_size), *given[2] = {data};
    int longs = holds == NULL ? -1 : PyObject_RichCompareBool(holds, zero, Py_GT);
    int shorts = longs == 0 ? PyObject_RichCompareBool(holds, zero, Py_LT) : 0;
    PyObject *done = NULL;
    given[1] = longs < 0 || shorts < 0 ? NULL : PyNumber_Absolute(is_none(size) ? holds : size);
    if (given[1] != NULL)
        done = longs ? sell(self, given, 2, NULL) : shorts ? buy(self, given, 2, NULL) : Py_NewRef(Py_None);
    Py_XDECREF(given[1]);
    Py_XDECREF(holds);
    return done;
}

/* Strategy.close; only for strategies whose `getposition`, `buy` and `sell` are those here */
static PyObject *
close_(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    PyObject *given[WANTED] = {NULL}, *own = attributes(self), *position = NULL, *data = NULL;
    if (own == NULL)
        return NULL;
    int plain = count <= 2 && take_arguments(given, args, count, keywords) && !found(own, name_buy) &&
                !found(own, name_sell) && !found(own, name_getposition);
    for (int place = PRICE; place < WANTED; place++)
        plain = plain && given[place] == NULL;
    if (plain && is_none(given[DATA]))
        data = found(own, name_data);
    else if (plain && !PyUnicode_Check(given[DATA]))
        data = given[DATA];
    if (data == NULL || (position = held(own, data)) == NULL)
        return PyErr_Occurred() ? NULL : in_python(strategy_close, self, args, count, keywords);
    PyObject *done = close_position(self, position, data, given[SIZE]);
    Py_DECREF(position);
    return done;
}

/* ---------------------------------------------------------------- setting up */

#define METHOD(name, function, doc)                                                                                    \
    {name, (PyCFunction)(void (*)(void))function, METH_FASTCALL | METH_KEYWORDS, doc}

static PyMethodDef methods[] = {
    METHOD("getposition", getposition, "See Backtrader."),
    METHOD("buy", buy, "See Backtrader."),
    METHOD("sell", sell, "See Backtrader."),
    METHOD("close", close_, "See Backtrader."),
    {NULL},
};

static PyGetSetDef properties[] = {{"position", get_position, NULL, "See Backtrader.", NULL}, {NULL}};

static PyType_Slot asks_slots[] = {
    {Py_tp_doc, "What a strategy asks."},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {0, NULL},
};

static PyType_Spec asks_spec = {
    .name = "research.engine.native._loop.StrategyAsks",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = asks_slots,
};

static PyMethodDef functions[] = {
    {"find_quickly", find_quickly, METH_O, "find_quickly(type)\n--\n\nFind attributes of its objects sooner."},
    {NULL},
};

/* Backtrader's own methods. */
static int
find_methods(void)
{
    PyObject *strategy = (PyObject *)type_of("backtrader.strategy", "Strategy");
    if (strategy == NULL)
        return -1;
    strategy_buy = PyObject_GetAttr(strategy, name_buy);
    strategy_sell = PyObject_GetAttr(strategy, name_sell);
    strategy_close = PyObject_GetAttr(strategy, name_close);
    strategy_position = PyObject_GetAttr(strategy, name_getposition);
    Py_DECREF(strategy);
    return strategy_buy && strategy_sell && strategy_close && strategy_position ? 0 : -1;
}

int
add_asking(PyObject *module)
{
    buy_type = type_of("backtrader.order", "BuyOrder");
    sell_type = type_of("backtrader.order", "SellOrder");
    session_end = (PyObject *)type_of("research.engine.orders", "session_end");
    zero = PyLong_FromLong(0);
    wanted_names = Py_BuildValue("(OOOOOOOOOOOO)", name_data, name_size, name_price, name_plimit_given, name_exectype,
                                 name_valid, name_tradeid, name_oco, name_trailamount, name_trailpercent, name_parent,
                                 name_transmit);
    sizing_names = Py_BuildValue("(O)", name_isbuy);
    if (!buy_type || !sell_type || !session_end || !zero || !wanted_names || !sizing_names || find_methods())
        return -1;
    PyObject *type = PyType_FromSpec(&asks_spec);
    int failed = type == NULL || PyModule_AddType(module, (PyTypeObject *)type) ||
                 PyModule_AddFunctions(module, functions) || add_looks(module, type);
    Py_XDECREF(type);
    return failed ? -1 : 0;
}
