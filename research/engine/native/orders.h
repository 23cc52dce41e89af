/* Orders made, copied and booked.
 *
 * Belongs here: what the other sources ask of orders.c. Does not belong here: numbers, names (see their headers).
 */

#ifndef BARLOOM_ORDERS_H
#define BARLOOM_ORDERS_H

#include "numbers.h"

enum { CREATED, SUBMITTED, ACCEPTED, PARTIAL, COMPLETED, CANCELED, EXPIRED, MARGIN, REJECTED };
enum { MARKET, CLOSE, LIMIT, STOP, STOP_LIMIT, STOP_TRAIL, STOP_TRAIL_LIMIT, HISTORICAL };

/* What of an execution opens or closes a position. */
typedef struct {
    Number size, value, fee;
} Part;

/* One execution and what the order's record of executions becomes by it. */
typedef struct {
    Number size, price, profit, held, average; /* the last two: the position afterwards */
    Part closed, opened;
    PyObject *time, *margin; /* borrowed */
    Number done_left, done_size, done_price, done_value, done_fee, done_profit;
} Execution;

/* A parameter of an order, which may be among its own attributes or among its parameters only; borrowed. */
#define parameter(own, name) parameter_at(own, name, number_of_##name)

static inline PyObject *
parameter_at(PyObject *own, PyObject *name, int number_of_name)
{
    PyObject *value = found_at(own, name, number_of_name);
    if (value != NULL || PyErr_Occurred())
        return value;
    PyObject *params = attribute(own, name_p), **wanted = params == NULL ? NULL : _PyObject_GetDictPtr(params);
    if (wanted != NULL && *wanted != NULL && (value = found_at(*wanted, name, number_of_name)) != NULL)
        return value;
    PyErr_Clear();
    PyObject *given = params == NULL ? NULL : PyObject_GetAttr(params, name);
    Py_XDECREF(given); /* the parameters keep it */
    return given;
}

/* The same of any order; a new reference. */
#define parameter_of(order, name) parameter_of_at(order, name, number_of_##name)

static inline PyObject *
parameter_of_at(PyObject *order, PyObject *name, int number_of_name)
{
    PyObject *own = attributes(order);
    return own == NULL ? NULL : Py_XNewRef(parameter_at(own, name, number_of_name));
}

PyObject *compact(PyObject *own, PyObject *to_come, int number);
PyObject *object_with(PyTypeObject *type, PyObject *own);
int is_plain_order(PyObject *order);
PyObject *tell(PyObject *order, PyObject *own);
int book_ahead(Execution *one, PyObject *own);
int book(Execution *one, PyObject *own);
PyObject *order_by(PyTypeObject *type, PyObject *const *values, PyObject *session_end);
PyObject *send_plainly(PyObject *broker, PyTypeObject *type, PyObject *const *values, PyObject *session_end); /* matching.c */
int catch_up(PyObject *broker);    /* matching.c */
int work_at_bar(PyObject *broker); /* matching.c */
int collect(PyObject *strategy, PyObject *order); /* trades.c */

#endif
