// The page without this module is whole: links and forms. With it, mails open beside the list, the list goes on by
// itself and stays current, and keys work. Words of mails come as documents that the server has escaped.
import { follow } from "./live.js";
import { localise } from "./times.js";
import { startKeys } from "./keys.js";
import { startList } from "./list.js";
import { startForms } from "./forms.js";

localise(document);
const list = startList();
startForms();
startKeys(list, follow(list));
