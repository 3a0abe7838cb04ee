import { nothingIsLeft } from '../helpers/leaks.js';
import { traces } from './traces.js';

nothingIsLeft();
traces(1);
